package compose

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

var record = flag.String("record", "", "record the definitions of a version, such as v0.1.0, or of what is to be the next one: next")

// next is the folder of what is to be released: it may be recorded anew.
const next = "next"

func unset(string) (string, bool) { return "", false }

// TestRecorded reads the definitions that earlier versions have stored, and that runs may sleep on: each is taken, and says what
// it said then. See CONTRIBUTING.md for what to do when it fails.
func TestRecorded(t *testing.T) {
	if *record != "" {
		recordDefinitions(t, *record)
	}
	files, err := filepath.Glob("testdata/recorded/*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing is recorded: %v", err)
	}
	refused := 0
	for _, file := range files {
		t.Run(strings.TrimPrefix(file, "testdata/recorded/"), func(t *testing.T) {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			then, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".read")
			if err != nil {
				t.Fatal(err)
			}
			doc, err := Stored(source, unset)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range doc.Unread {
				t.Errorf("it is not understood any more: %s", p)
			}
			if d := cmp.Diff(plain(t, then), onlyKnown(plain(t, []byte(dump(t, doc))), plain(t, then))); d != "" {
				t.Errorf("it is read in another way (-then +now):\n%s", d)
			}
			if _, err := Parse(source, unset); err != nil {
				refused++
			}
		})
	}
	if refused == 0 {
		t.Error("none of them would be refused today: what is recorded of the time before there were so many checks is gone")
	}
}

func plain(t *testing.T, data []byte) (v any) {
	t.Helper()
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// onlyKnown gives the fields of a document that another has, too: a later version may have more.
func onlyKnown(now, then any) any {
	switch then := then.(type) {
	case map[string]any:
		n, ok := now.(map[string]any)
		if !ok {
			return now
		}
		out := map[string]any{}
		for k, v := range then {
			if is, ok := n[k]; ok {
				out[k] = onlyKnown(is, v)
			}
		}
		return out
	case []any:
		n, ok := now.([]any)
		if !ok || len(n) != len(then) {
			return now
		}
		out := make([]any, len(n))
		for i := range n {
			out[i] = onlyKnown(n[i], then[i])
		}
		return out
	default:
		return now
	}
}

// recordDefinitions keeps the documents of all golden files that load, as they would be stored, and what is read of them.
func recordDefinitions(t *testing.T, version string) {
	t.Helper()
	dir := filepath.Join("testdata", "recorded", version)
	if version == next {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatalf("what is recorded stays as it is: %v", err)
	}
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, _, _ := strings.Cut(string(data), wantLine)
		doc, err := read(t, input)
		if err != nil {
			continue
		}
		if doc, err = Parse(doc.Source, unset); err != nil || len(doc.Workflows) == 0 {
			continue
		}
		name := filepath.Join(dir, filepath.Base(file))
		for name, content := range map[string][]byte{name: doc.Source, strings.TrimSuffix(name, ".yaml") + ".read": []byte(dump(t, doc))} {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
