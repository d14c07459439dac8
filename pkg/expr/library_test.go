package expr

import (
	"os"
	"regexp"
	"testing"

	"github.com/expr-lang/expr/builtin"
	lang "github.com/expr-lang/expr/parser/operator"
)

// Every function and operator of expr-lang is known here and tried in the golden files, so that an update of the
// library brings nothing in unseen.
func TestWholeLibrary(t *testing.T) {
	golden, err := os.ReadFile("testdata/functions.golden")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range builtin.Builtins {
		known[f.Name] = true
		if !isFunction(f.Name) {
			t.Errorf("%s() is not in the table of functions", f.Name)
		}
		if !regexp.MustCompile(`\b`+f.Name+`\(`).Match(golden) && f.Name != "now" && f.Name != "timezone" {
			t.Errorf("%s() is not tried in functions.golden", f.Name)
		}
	}
	for name := range functions {
		if !known[name] {
			t.Errorf("%s() is not one of expr-lang's", name)
		}
	}
	own := map[string]bool{"|": true, "&&": true, "and": true, "||": true, "or": true, "??": true, "**": true}
	for name := range lang.Binary {
		if _, ok := operators[name]; !ok && !own[name] {
			t.Errorf("the operator %s is not in the table", name)
		}
	}
}
