package docs_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
)

var update = flag.Bool("update", false, "write what the program knows into docs/compose-file.md")

// schema is as much of a JSON Schema as the compose file's uses.
type schema struct {
	Ref         string             `json:"$ref"`
	Type        any                `json:"type"`
	Description string             `json:"description"`
	Default     any                `json:"default"`
	Enum        []any              `json:"enum"`
	Const       any                `json:"const"`
	Items       *schema            `json:"items"`
	AnyOf       []*schema          `json:"anyOf"`
	Properties  map[string]*schema `json:"properties"`
	Additional  any                `json:"additionalProperties"`
	Required    []string           `json:"required"`
	Examples    []any              `json:"examples"`
	Comment     string             `json:"$comment"`
	Defs        map[string]*schema `json:"$defs"`
}

const fieldsBegin, fieldsEnd = "<!-- fields: go test ./test/docs -run Reference -update -->\n", "<!-- end of fields -->\n"

// TestReference holds docs/compose-file.md against the schema of the compose file.
func TestReference(t *testing.T) {
	var s schema
	if err := json.Unmarshal(compose.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "docs", "compose-file.md")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), fieldsBegin)
	_, after, ok2 := strings.Cut(rest, fieldsEnd)
	if !ok || !ok2 {
		t.Fatal("the page has no place for the fields")
	}
	want := before + fieldsBegin + reference(&s) + fieldsEnd + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("docs/compose-file.md is not what the program knows; go test ./test/docs -run Reference -update writes it (-known +written):\n%s", diff)
	}
}

// sections is the order of the page; what is not in it follows by name.
var sections = []string{
	"listener", "callback", "trigger", "respond", "verify", "handshake", "tls", "gateway", "component", "action", "completion", "client-tls",
	"workflow", "input", "concurrency", "hook", "job", "retry", "on_error", "condition", "if-condition", "case", "routing", "do", "controller",
}

func reference(s *schema) string {
	names := slices.DeleteFunc(slices.Clone(sections), func(n string) bool { return s.Defs[n] == nil })
	for _, n := range slices.Sorted(maps.Keys(s.Defs)) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	var b strings.Builder
	for _, name := range names {
		def := s.Defs[name]
		short := ""
		if def.Properties == nil && len(def.AnyOf) > 0 {
			for _, one := range def.AnyOf {
				if one.Properties != nil {
					def = one
				} else {
					short = kind(one)
				}
			}
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s", name, def.Description)
		if short != "" {
			fmt.Fprintf(&b, " In short: %s.", short)
		}
		b.WriteString("\n\n| field | type | default | |\n|---|---|---|---|\n")
		for _, f := range slices.Sorted(maps.Keys(def.Properties)) {
			p := def.Properties[f]
			fallback := ""
			if p.Default != nil {
				fallback = "`" + fmt.Sprint(p.Default) + "`"
			}
			if slices.Contains(def.Required, f) {
				fallback = "required"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f, kind(p), fallback, strings.ReplaceAll(p.Description, "|", "\\|"))
		}
	}
	b.WriteString("\n")
	return b.String()
}

// kind says in a few words what a value may be.
func kind(s *schema) string {
	switch {
	case s == nil:
		return "any"
	case s.Ref != "":
		name := strings.TrimPrefix(s.Ref, "#/$defs/")
		return "[" + name + "](#" + name + ")"
	case s.Const != nil:
		return fmt.Sprintf("`%v`", s.Const)
	case len(s.Enum) > 0:
		return words(s.Enum)
	case len(s.AnyOf) > 0:
		var kinds []string
		for _, one := range s.AnyOf {
			// That an expression may stand for a value of any type, and numbers for texts, is said once, above.
			if k := kind(one); one.Comment == "" && !slices.Contains(kinds, k) {
				kinds = append(kinds, k)
			}
		}
		if len(kinds) == 2 && kinds[1] == "list of "+kinds[0] {
			return kinds[0] + ", or a list"
		}
		return strings.Join(kinds, " or ")
	case slices.Contains(s.Examples, any("250ms")):
		return "duration"
	case slices.Contains(s.Examples, any("4MiB")):
		return "size"
	case s.Type == "array" && s.Items == nil:
		return "list"
	case s.Type == "array":
		return "list of " + kind(s.Items)
	case s.Type == "object":
		if of, ok := s.Additional.(map[string]any); ok && of["$ref"] != nil {
			return "mapping of " + kind(&schema{Ref: fmt.Sprint(of["$ref"])})
		}
		return "mapping"
	case s.Type == "string":
		return "text"
	case s.Type == nil:
		return "any"
	}
	if types, ok := s.Type.([]any); ok {
		names := map[any]string{"string": "text", "object": "mapping", "array": "list", "integer": "number"}
		var kinds []string
		for _, t := range types {
			name := fmt.Sprint(t)
			if n, ok := names[t]; ok {
				name = n
			}
			kinds = append(kinds, name)
		}
		if len(kinds) > 2 {
			return "value"
		}
		return strings.Join(kinds, " or ")
	}
	return fmt.Sprint(s.Type)
}

func words(enum []any) string {
	var all []string
	for _, e := range enum {
		all = append(all, fmt.Sprintf("`%v`", e))
	}
	return strings.Join(all, " ")
}
