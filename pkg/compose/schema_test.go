package compose

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestSchema(t *testing.T) {
	var s struct {
		Properties map[string]any `json:"properties"`
		Defs       map[string]any `json:"$defs"`
	}
	data := Schema()
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	for _, name := range top() {
		if s.Properties[name] == nil {
			t.Errorf("the schema has no section %s", name)
		}
	}
	for _, part := range strings.Split(string(data), `"$ref": "#/$defs/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if s.Defs[name] == nil {
			t.Errorf("the schema refers to %s, and has none", name)
		}
	}
	properties := func(name string) map[string]any {
		def, _ := s.Defs[name].(map[string]any)
		p, _ := def["properties"].(map[string]any)
		return p
	}
	for def, fields := range map[string][]string{
		"listener":  {"port", "callbacks", "path", "identify_by", "workflow"},
		"component": {"base_url", "path", "completion", "message", "subject", "command", "start", "actions"},
		"job":       {"depends_on", "on_error", "cases", "conditions", "do", "where", "routings", "wait_for", "duration"},
		"workflow":  {"jobs", "component", "input", "concurrency"},
		"gateway":   {"driver", "connection"},
	} {
		for _, field := range fields {
			if properties(def)[field] == nil {
				t.Errorf("the schema of a %s has no %s", def, field)
			}
		}
		for field, p := range properties(def) {
			if m, _ := p.(map[string]any); m["description"] == nil || m["description"] == "" {
				t.Errorf("%s.%s is not described", def, field)
			}
		}
	}
	port, _ := properties("controller")["port"].(map[string]any)
	if port["default"] != 8080.0 {
		t.Errorf("the controller's port has no default: %v", port)
	}
}
