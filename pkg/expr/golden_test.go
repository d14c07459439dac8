package expr_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/value"
)

var update = flag.Bool("update", false, "write what the templates give into testdata/*.golden")

var rules = expr.Rules{Sources: map[string]expr.Arg{
	"input": expr.NoArg, "output": expr.NoArg, "env": expr.NoArg, "header": expr.NoArg, "body": expr.NoArg,
	"gateway": expr.RequiredArg, "listener": expr.OptionalArg,
}}

func scope(t testing.TB) expr.Map {
	t.Helper()
	data, err := os.ReadFile("testdata/scope.json")
	if err != nil {
		t.Fatal(err)
	}
	v, err := value.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

// TestGolden evaluates the templates of testdata/*.golden with testdata/scope.json. A line is a template; the
// lines below it, indented, say what it gives: "= JSON", "! run-time error", or "^ problem" under the character
// where it is, each with what to do behind "→".
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	s := scope(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".golden"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for line := range strings.Lines(string(data)) {
				template := strings.TrimSuffix(line, "\n")
				switch {
				case template == "" || strings.HasPrefix(template, "#"):
					got.WriteString(line)
				case strings.HasPrefix(template, " "):
				default:
					got.WriteString(line + answer(template, s))
				}
			}
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(data), got.String()); diff != "" && !*update {
				t.Errorf("%s (run with -update, and read the difference):\n%s", file, diff)
			}
		})
	}
}

func answer(template string, s expr.Scope) string {
	compiled, problems := expr.Compile(template, rules)
	if len(problems) > 0 {
		var b strings.Builder
		for _, p := range problems {
			at := utf8.RuneCountInString(template[:p.Offset])
			if at == 0 {
				b.WriteString("  (at the beginning)\n ")
			}
			fmt.Fprintf(&b, "%*s^ %s%s\n", at, "", p.Message, hint(p.Hint))
		}
		return b.String()
	}
	v, err := compiled.Eval(s)
	if err != nil {
		var f *fault.Error
		if !errors.As(err, &f) {
			return "  ! " + err.Error() + "\n"
		}
		return "  ! " + err.Error() + hint(f.Hint) + "\n"
	}
	text, err := value.Encode(v)
	if err != nil {
		return "  ! not a value: " + err.Error() + "\n"
	}
	return "  = " + string(text) + "\n"
}

func hint(s string) string {
	if s == "" {
		return ""
	}
	return " → " + s
}
