package compose

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"github.com/switchbackhq/switchback/pkg/value"
)

// canonical writes the merged document and its hash: the same for all files that say the same in the same order,
// however they are laid out. It holds what is written, so a variable stays ${env.X}.
func canonical(root *node) (source []byte, hash string) {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(root.yaml()); err != nil {
		return nil, "" // not for a tree that has been read
	}
	sum := sha256.Sum256([]byte(b.String()))
	return []byte(b.String()), hex.EncodeToString(sum[:16])
}

// yaml gives the node as YAML without its layout.
func (n *node) yaml() *yaml.Node {
	switch n.kind {
	case mapping:
		y := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		if len(n.names) == 0 {
			y.Style = yaml.FlowStyle
		}
		for _, name := range n.names {
			y.Content = append(y.Content, textNode(name), n.fields[name].yaml())
		}
		return y
	case list:
		y := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		if len(n.items) == 0 {
			y.Style = yaml.FlowStyle
		}
		for _, item := range n.items {
			y.Content = append(y.Content, item.yaml())
		}
		return y
	case scalar:
		switch v := n.value.(type) {
		case string:
			return textNode(v)
		case bool:
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: value.Text(v)}
		case int64:
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: value.Text(v)}
		default:
			return &yaml.Node{Kind: yaml.ScalarNode, Value: value.Text(v)}
		}
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	}
}

// textNode quotes what YAML's other styles do not carry unchanged.
func textNode(s string) *yaml.Node {
	y := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if s != strings.TrimSpace(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		y.Style = yaml.DoubleQuotedStyle
	}
	return y
}
