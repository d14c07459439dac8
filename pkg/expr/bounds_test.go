package expr

import (
	"fmt"
	"strings"
	"testing"
)

// TestEvaluationIsBounded lets expressions run that would fill the memory or never end. They begin with most of
// their budget spent, so that the test is quick.
func TestEvaluationIsBounded(t *testing.T) {
	many := make([]any, 5_000)
	for i := range many {
		many[i] = int64(i)
	}
	s := Map{"input": map[string]any{"big": strings.Repeat("x", 1<<16), "many": many, "one": int64(1), "none": []any{}}}
	const z = "${let a = [input.one]; "
	for _, source := range []string{
		`${replace(input.big, "x", input.big)}`,
		`${repeat(input.big, 1000)}`,
		`${repeat(input.big, 9223372036854775807)}`,
		`${join(input.many, input.big)}`,
		`${reduce(input.many, #acc + input.big, "")}`,
		`${map(input.many, input.big)}`,
		`${map(input.many, upper(input.big))}`,
		`${map(input.many, toJSON(input.many))}`,
		`${map(input.many, fromJSON("[1,2,3,4,5,6,7,8,9]"))}`,
		`${map(input.many, split(input.big, ""))}`,
		`${map(input.many, input.big[1:])}`,
		`${map(input.many, 1..1000)}`,
		`${map(input.many, reverse(input.many))}`,
		`${map(input.many, concat(input.many, input.many))}`,
		`${map(input.many, sort(input.many))}`,
		`${let a = [input.big, input.big]; let b = [a, a, a, a]; let c = [b, b, b, b]; [c, c, c, c]}`,
		z + doubled + " z == z}",
		z + doubled + " toJSON(z)}",
		z + doubled + " flatten(z)}",
		z + doubled + " max(z)}",
		z + doubled + " uniq([z])}",
		z + doubled + " {(string(z)): 1}}",
		z + doubled + ` ({"a": 1})[z] ?? z}`,
		z + doubled + " groupBy([1], {z})}",
		z + doubled + " z in [z]}",
		"${let a = input.none; " + doubled + " max(z)}",
		`${all(input.many, all(input.many, true))}`,
		`${filter(input.many, any(input.many, # < 0))}`,
		`${count(input.many, # in input.many)}`,
		`${count(input.many, input.big contains "y")}`,
		`${count(input.many, input.big matches "y$")}`,
		`${map(input.many, max(input.many))}`,
		`${1..input.many[-1] * 1000}`,
		`${reduce(input.many, #acc * 1000, 1)}`,
	} {
		template, problems := Compile(source, Rules{Sources: map[string]Arg{"input": NoArg}})
		if len(problems) > 0 {
			t.Errorf("%s: %v", source, problems)
			continue
		}
		n, ok := template.root.(*program)
		if !ok {
			t.Errorf("%s is no program", source)
			continue
		}
		e := &evaluation{scope: s, operands: n.operands, grown: maxBytes - 1<<20, steps: maxSteps - 10_000}
		if v, err := e.run(n.code); err == nil {
			t.Errorf("%s gives %.60s", source, fmt.Sprint(v))
		}
	}
}

// doubled declares z as a list of lists of a, doubled forty times.
var doubled = func() string {
	var b strings.Builder
	before := "a"
	for i := range 40 {
		name := fmt.Sprintf("a%d", i)
		fmt.Fprintf(&b, "let %s = [%s, %s]; ", name, before, before)
		before = name
	}
	return b.String() + "let z = " + before + ";"
}()

func TestTextIsBounded(t *testing.T) {
	template, problems := Compile(strings.Repeat("${input}", 65), Rules{Sources: map[string]Arg{"input": NoArg}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if _, err := template.Eval(Map{"input": strings.Repeat("x", 1<<20)}); err == nil {
		t.Error("65 MiB were put together")
	}
}
