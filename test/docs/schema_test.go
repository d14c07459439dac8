package docs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/switchbackhq/switchback/pkg/compose"
)

// TestSchemaTakesWhatIsRight holds the schema for editors against files that load: an editor must not find fault with them.
func TestSchemaTakesWhatIsRight(t *testing.T) {
	described, err := jsonschema.UnmarshalJSON(bytes.NewReader(compose.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("switchback.json", described); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("switchback.json")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, pattern := range []string{
		"examples/*/*.yaml", "pkg/compose/testdata/*.yaml", "test/e2e/testdata/chapter/*.yaml", "services/runner/engine/testdata/recorded/*.yaml",
	} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %d files", pattern, err, len(found))
		}
		for _, file := range found {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			files[file], _, _ = strings.Cut(string(data), "=== want\n")
		}
	}
	for file, text := range pages(t) {
		for i, m := range yamlBlock.FindAllStringSubmatch(text, -1) {
			if section.MatchString(m[1]) {
				files[file+strings.Repeat("'", i)] = m[1]
			}
		}
	}
	right := 0
	for name, text := range files {
		file := filepath.Join(t.TempDir(), "switchback.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := compose.Load(compose.Options{Files: []string{file}}); err != nil {
			continue // a golden file of what is wrong, or a part of several files
		}
		right++
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if v == nil {
			continue
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if right < 20 {
		t.Errorf("%d files were right", right)
	}
}
