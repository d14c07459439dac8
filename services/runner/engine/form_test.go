package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// form is the form of run document of a version: every field by its path, such as "jobs.*.attempts.*.number".
type form struct {
	version int
	fields  []string
}

// harmless are fields that a runner of an earlier release drops when it saves a run, because it does not know them, and without
// which a run goes on as it should; each with the reason.
var harmless = map[string]string{}

// TestFormOfTheDocument: runners of two releases carry on the same runs while they are replaced one by one. Whoever adds a field
// decides what comes of it there. See CONTRIBUTING.md.
func TestFormOfTheDocument(t *testing.T) {
	files, err := filepath.Glob("testdata/recorded/*/form.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no form is recorded: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(filepath.Dir(file)) == next {
			if d := cmp.Diff(string(data), todaysForm().String()); d != "" {
				t.Errorf("%s: if the form has changed on purpose: make record (-recorded +now)\n%s", file, d)
			}
			continue
		}
		for _, problem := range readForm(t, string(data)).misses(todaysForm()) {
			t.Errorf("%s: %s", file, problem)
		}
	}
}

func TestFormsAreCompared(t *testing.T) {
	was := readForm(t, "version 1\na\nb\n")
	for name, c := range map[string]struct {
		is   form
		want []string
	}{
		"the same":    {form{1, []string{"a", "b"}}, nil},
		"gone":        {form{2, []string{"a"}}, []string{"the field b is gone: runs that have it lose it"}},
		"another one": {form{2, []string{"a", "b", "c"}}, nil},
		"dropped":     {form{1, []string{"a", "b", "c"}}, []string{"a runner of this form drops the field c when it saves: raise engine.Version, or say in harmless why it may"}},
	} {
		if d := cmp.Diff(c.want, was.misses(c.is)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// misses says what goes wrong between runners of this form and of a later one.
func (f form) misses(later form) []string {
	var problems []string
	for _, field := range f.fields {
		if !slices.Contains(later.fields, field) {
			problems = append(problems, "the field "+field+" is gone: runs that have it lose it")
		}
	}
	for _, field := range later.fields {
		if !slices.Contains(f.fields, field) && harmless[field] == "" && f.version >= later.version {
			problems = append(problems, "a runner of this form drops the field "+field+" when it saves: raise engine.Version, or say in harmless why it may")
		}
	}
	return problems
}

func todaysForm() form {
	f := form{version: engine.Version}
	fieldsOf(reflect.TypeFor[event.Run](), "", &f.fields)
	slices.Sort(f.fields)
	return f
}

func fieldsOf(of reflect.Type, path string, into *[]string) {
	switch {
	case of.Kind() == reflect.Pointer:
		fieldsOf(of.Elem(), path, into)
	case of.Kind() == reflect.Map, of.Kind() == reflect.Slice && of.Elem().Kind() != reflect.Uint8:
		fieldsOf(of.Elem(), path+".*", into)
	case of.Kind() == reflect.Struct && strings.HasSuffix(of.PkgPath(), "/pkg/event"):
		for field := range of.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			fieldsOf(field.Type, strings.TrimPrefix(path+"."+name, "."), into)
		}
	default:
		*into = append(*into, path)
	}
}

func (f form) String() string {
	return fmt.Sprintf("version %d\n%s\n", f.version, strings.Join(f.fields, "\n"))
}

func readForm(t *testing.T, text string) (f form) {
	t.Helper()
	head, rest, _ := strings.Cut(text, "\n")
	var err error
	if f.version, err = strconv.Atoi(strings.TrimPrefix(head, "version ")); err != nil {
		t.Fatal(err)
	}
	f.fields = strings.Fields(rest)
	return f
}

// TestADocumentHasTheFormOfItsLastWriter: what an older version has begun is left alone by it from then on.
func TestADocumentHasTheFormOfItsLastWriter(t *testing.T) {
	w := world(component(0), job("a"))
	run, _ := play(t, w, requested(t0), responded("a", 1, t0))
	run.Version = engine.Version - 1
	same, _, err := engine.Advance(w, run, callback("r.b", 9, event.Succeeded, `{}`, t0))
	if err != nil || same != run {
		t.Errorf("nothing happened, and it was changed: %+v, %v", same, err)
	}
	if run, _, err = engine.Advance(w, run, callback("r.a", 9, event.Succeeded, `{}`, t0)); err != nil || run.Version != engine.Version {
		t.Errorf("version %d, %v", run.Version, err)
	}
}
