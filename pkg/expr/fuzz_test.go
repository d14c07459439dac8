package expr_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

// FuzzCompile compiles and evaluates whatever it is given: nothing panics, every problem and reference is where it
// is said to be, and an outcome is a value.
func FuzzCompile(f *testing.F) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if strings.Contains(line, "${") && !strings.HasPrefix(line, " ") {
				f.Add(strings.TrimSuffix(line, "\n"))
			}
		}
	}
	s := scope(f)
	f.Fuzz(func(t *testing.T, source string) {
		template, problems := expr.Compile(source, rules)
		for _, p := range problems {
			if p.Offset < 0 || p.Offset > len(source) || p.Message == "" || len(p.Path) > 0 {
				t.Errorf("%q: %+v", source, p)
			}
		}
		if (template == nil) != (len(problems) > 0) {
			t.Fatalf("%q: template %v, problems %v", source, template, problems)
		}
		if template == nil {
			return
		}
		for _, r := range template.References() {
			if r.Text == "" || !strings.HasPrefix(source[r.Offset:], r.Text) || !strings.HasPrefix(r.Text, r.Source) {
				t.Errorf("%q: reference %+v", source, r)
			}
			// The path as it prints is the same path.
			head := r.Source
			if r.Arg != "" {
				head += ":" + r.Arg
			}
			same, problems := expr.Compile("${"+head+r.Path.String()+"}", rules)
			if len(problems) > 0 || !cmp.Equal(same.References()[0].Path, r.Path, cmpopts.EquateEmpty()) {
				t.Errorf("%q: %s is printed as %s%s: %v", source, r.Text, head, r.Path, problems)
			}
		}
		v, err := template.Eval(s)
		if err != nil {
			if err.Error() == "" {
				t.Errorf("%q: an error without words", source)
			}
			return
		}
		text, err := value.Encode(v)
		if err != nil {
			t.Errorf("%q gives %#v: %v", source, v, err)
		}
		if _, err := value.Decode(text); err != nil {
			t.Errorf("%q gives %s: %v", source, text, err)
		}
		if !strings.Contains(source, "${") && v != source {
			t.Errorf("%q gives %q", source, v)
		}
		again, err := template.Eval(s)
		if err != nil || !strings.Contains(source, "now") && !value.Equal(v, again) {
			t.Errorf("%q gives %v first, and then %v, %v", source, v, again, err)
		}
	})
}
