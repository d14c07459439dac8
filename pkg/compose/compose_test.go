package compose

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/switchbackhq/switchback/pkg/expr"
)

var update = flag.Bool("update", false, "write the expected part of the golden files anew")

const (
	wantLine = "=== want\n"
	fileLine = "=== file\n"
)

// read loads YAML as files of a golden case do: several files stand one behind the other, "#env A=b" sets a variable,
// "#set path=value" lays a value over the files, "#environ A=b" a variable that may do so.
func read(t *testing.T, input string) (*Document, error) {
	t.Helper()
	env := map[string]string{}
	var set, environ []string
	for line := range strings.Lines(input) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "#env "); ok {
			name, value, _ := strings.Cut(rest, "=")
			env[name] = value
		}
		if rest, ok := strings.CutPrefix(line, "#environ "); ok {
			environ = append(environ, rest)
		}
		if rest, ok := strings.CutPrefix(line, "#set "); ok {
			set = append(set, rest)
		}
	}
	d := newDecoder(func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	})
	var layers []*node
	for i, file := range strings.Split(input, fileLine) {
		if n := d.layer([]string{"first.yaml", "second.yaml", "third.yaml"}[i], []byte(file)); n != nil {
			layers = append(layers, n)
		}
	}
	return d.finish(layers, environ, set)
}

// dump gives what a document says, without places.
func dump(t *testing.T, doc *Document) string {
	t.Helper()
	plain, _ := plainOf(reflect.ValueOf(*doc)).(map[string]any)
	delete(plain, "Hash")
	delete(plain, "Source")
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(plain); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// plainOf gives maps, lists and texts for a value; what is empty is left out.
func plainOf(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case *expr.Template:
		if x == nil {
			return nil
		}
		if source := x.Source(); source != nil {
			return source
		}
		return "null"
	case *time.Location:
		if x == nil {
			return nil
		}
		return x.String()
	case Problem:
		return x.Path + ": " + x.Message
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		if p := plainOf(v.Elem()); p != nil {
			return p
		}
		return "zero"
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.IsExported() && f.Name != "Pos" && !v.Field(i).IsZero() {
				m[f.Name] = plainOf(v.Field(i))
			}
		}
		return m
	case reflect.Slice:
		l := make([]any, v.Len())
		for i := range l {
			l[i] = plainOf(v.Index(i))
		}
		return l
	case reflect.Map:
		m := map[string]any{}
		for _, k := range v.MapKeys() {
			m[k.String()] = plainOf(v.MapIndex(k))
		}
		return m
	default:
		return v.Interface()
	}
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(data), wantLine)
			doc, err := read(t, input)
			var got string
			var invalid *Invalid
			switch {
			case errors.As(err, &invalid):
				got = invalid.Error() + "\n"
			case err != nil:
				t.Fatal(err)
			default:
				got = dump(t, doc)
				again(t, doc, input)
			}
			if *update {
				if err := os.WriteFile(file, []byte(input+wantLine+got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// again checks that a document's source gives the same document.
func again(t *testing.T, doc *Document, input string) {
	t.Helper()
	env := func(name string) (string, bool) {
		_, rest, ok := strings.Cut(input, "#env "+name+"=")
		v, _, _ := strings.Cut(rest, "\n")
		return v, ok
	}
	second, err := Parse(doc.Source, env)
	if err != nil {
		t.Fatalf("the source cannot be read back: %v\n%s", err, doc.Source)
	}
	if diff := cmp.Diff(dump(t, doc), dump(t, second)); diff != "" {
		t.Errorf("the source gives another document:\n%s", diff)
	}
	stored, err := Stored(doc.Source, env)
	if err != nil || len(stored.Unread) > 0 {
		t.Fatalf("the source cannot be read as a stored one: %v, %+v", err, stored)
	}
	if diff := cmp.Diff(dump(t, doc), dump(t, stored)); diff != "" {
		t.Errorf("stored, the source gives another document:\n%s", diff)
	}
	if !bytes.Equal(doc.Source, second.Source) || doc.Hash != second.Hash || doc.Hash == "" {
		t.Errorf("the source is not stable:\n%s", cmp.Diff(string(doc.Source), string(second.Source)))
	}
}
