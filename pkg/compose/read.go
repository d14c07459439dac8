package compose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/switchbackhq/switchback/pkg/value"
)

// The bounds of a compose file. A definition must fit into one NATS message.
const (
	maxFileSize = 1 << 20
	maxDepth    = 64
	maxNodes    = 100_000
	maxProblems = 200
)

// reader turns YAML into nodes.
type reader struct {
	file      string
	lines     []string
	problems  []Problem
	count     int
	unbounded bool                // what is stored was within the bounds of its time
	within    int                 // values
	stack     map[*yaml.Node]bool // anchors that are being expanded
	full      bool                // maxNodes reached
	holes     bool                // what stands in the file is not all there: to judge the rest would mislead
}

// read parses one file. The node is nil where nothing can be made of it.
func (r *reader) read(data []byte) *node {
	if r.unbounded {
		r.within = len(data) // without aliases, which it has not, it holds no more values than that
	} else if len(data) > maxFileSize {
		r.problem(Pos{File: r.file}, fmt.Sprintf("the file is larger than %d KiB", maxFileSize>>10), "")
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	r.lines = strings.Split(string(data), "\n")
	if at := invalidUTF8(data); at >= 0 {
		before := data[:at]
		pos := Pos{
			File: r.file, Line: 1 + bytes.Count(before, []byte("\n")),
			Column: 1 + utf8.RuneCount(before[1+bytes.LastIndexByte(before, '\n'):]),
		}
		r.problem(pos, "the file is not UTF-8", "save it as UTF-8")
		return nil
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return &node{pos: Pos{File: r.file, Line: 1, Column: 1}}
		}
		r.syntax(err)
		return nil
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case err == nil:
		r.problem(r.pos(&second), "the file holds a second document", "write one document a file; -f takes several files")
	case !errors.Is(err, io.EOF):
		r.syntax(err)
	}
	r.stack = map[*yaml.Node]bool{}
	if len(doc.Content) == 0 {
		return &node{pos: Pos{File: r.file, Line: 1, Column: 1}}
	}
	return r.node(doc.Content[0], 0)
}

func (r *reader) problem(pos Pos, message, hint string) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, Problem{Pos: pos, Message: message, Hint: hint, Line: lineAt(r.lines, pos.Line)})
	}
}

func (r *reader) pos(n *yaml.Node) Pos { return Pos{File: r.file, Line: n.Line, Column: n.Column} }

func (r *reader) node(y *yaml.Node, depth int) *node {
	n := &node{pos: r.pos(y)}
	if r.full {
		return n
	}
	r.count++
	switch {
	case r.count > max(maxNodes, r.within):
		r.full, r.holes = true, true
		r.problem(n.pos, fmt.Sprintf("the file holds more than %d values, aliases counted where they are used", maxNodes), "")
		return n
	case depth > maxDepth && !r.unbounded:
		r.holes = true
		r.problem(n.pos, fmt.Sprintf("this is nested more than %d levels deep", maxDepth), "")
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		if r.stack[y.Alias] {
			r.holes = true
			r.problem(n.pos, fmt.Sprintf("the alias *%s holds itself", y.Value), "")
			return n
		}
		r.stack[y.Alias] = true
		defer delete(r.stack, y.Alias)
		return r.node(y.Alias, depth+1)
	case yaml.SequenceNode:
		n.kind = list
		for _, item := range y.Content {
			n.items = append(n.items, r.node(item, depth+1))
		}
	case yaml.MappingNode:
		n.kind = mapping
		r.mapping(y, n, depth)
	case yaml.ScalarNode:
		v, err := scalarValue(y)
		if err != nil {
			r.holes = true
			r.problem(n.pos, err.Error(), "")
		}
		if n.value = v; v != nil {
			n.kind = scalar
		}
	default: // a document within a document is not
	}
	return n
}

func (r *reader) mapping(y *yaml.Node, n *node, depth int) {
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode || k.ShortTag() == "!!null" {
			hint := ""
			if k.Kind == yaml.ScalarNode {
				hint = fmt.Sprintf("put it in quotes: %q", k.Value)
			}
			r.problem(r.pos(k), "a key must be text", hint)
			continue
		}
		if k.ShortTag() == "!!merge" {
			merges = append(merges, v)
			continue
		}
		if first := n.fields[k.Value]; first != nil {
			r.problem(r.pos(k), fmt.Sprintf("the key %q is here twice", k.Value), fmt.Sprintf("it is first given in line %d", first.key.Line))
			continue
		}
		child := r.node(v, depth+1)
		child.key = r.pos(k)
		n.put(k.Value, child)
	}
	for _, m := range merges {
		r.merge(m, n, depth)
	}
}

// merge takes over, from the value of a key <<, what the mapping does not say itself.
func (r *reader) merge(y *yaml.Node, n *node, depth int) {
	from := r.node(y, depth+1)
	sources := []*node{from}
	if from.kind == list {
		sources = from.items
	}
	for _, source := range sources {
		if source.kind != mapping {
			r.problem(source.pos, "<< takes a mapping or a list of mappings", "")
			continue
		}
		for _, name := range source.names {
			if n.get(name) == nil {
				n.put(name, source.fields[name])
			}
		}
	}
}

// scalarValue gives nil, bool, string, int64, float64 or json.Number.
func scalarValue(y *yaml.Node) (any, error) {
	switch y.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!str", "!!timestamp":
		return y.Value, nil
	case "!!bool":
		var b bool
		if err := y.Decode(&b); err != nil {
			return nil, fmt.Errorf("%q is not true or false", y.Value)
		}
		return b, nil
	case "!!int", "!!float":
		if n, err := value.Number(y.Value); err == nil {
			return n, nil
		}
		var v any
		if err := y.Decode(&v); err != nil {
			return nil, fmt.Errorf("%q is not a number", y.Value)
		}
		switch v := v.(type) {
		case int:
			return int64(v), nil
		case int64:
			return v, nil
		case uint64:
			return json.Number(strconv.FormatUint(v, 10)), nil
		case float64:
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				return v, nil
			}
		}
		return nil, fmt.Errorf("%q is not a number that JSON can hold", y.Value)
	default:
		return nil, fmt.Errorf("the tag %s is not taken here", y.Tag)
	}
}

func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

func lineAt(lines []string, line int) string {
	if line < 1 || line > len(lines) {
		return ""
	}
	return strings.TrimRight(lines[line-1], "\r\n ")
}
