package expr_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/fault"
)

func compile(t testing.TB, v any) *expr.Template {
	t.Helper()
	template, problems := expr.Compile(v, rules)
	if len(problems) > 0 {
		t.Fatalf("Compile(%v): %v", v, problems)
	}
	return template
}

func TestMapsAndLists(t *testing.T) {
	for _, tc := range []struct {
		name         string
		source, want any
	}{
		{
			"nested",
			map[string]any{"a": []any{"${input.a}", "x${input.b}", map[string]any{"s": "${input.s}"}}, "n": 5, "z": nil},
			map[string]any{"a": []any{int64(7), "x2", map[string]any{"s": "héllo"}}, "n": int64(5), "z": nil},
		},
		{"missing stays as null", map[string]any{"a": "${input.missing}"}, map[string]any{"a": nil}},
		{"spread", map[string]any{"...": "${input.items[0]}", "name": "mine", "y": true}, map[string]any{"x": int64(1), "name": "mine", "y": true}},
		{"spread several", map[string]any{"...": []any{"${input.items[0]}", "${input.items[1]}", "${input.missing}"}}, map[string]any{"x": int64(2), "name": "b"}},
		{"spread a literal map", map[string]any{"...": map[string]any{"a": "${input.a}"}, "b": 1}, map[string]any{"a": int64(7), "b": int64(1)}},
		{"spread null", map[string]any{"...": "${input.missing}", "a": 1}, map[string]any{"a": int64(1)}},
		{"spread with default", map[string]any{"...": `${input.missing | {"a": 1}}`}, map[string]any{"a": int64(1)}},
		{
			"list spread",
			[]any{0, "...${input.list}", "...${input.missing}", "${input.tags}"},
			[]any{int64(0), int64(3), int64(1), int64(2), []any{"a", "b", "a"}},
		},
		{"list spread of an expression", []any{"...${filter(input.list, # > 1)}"}, []any{int64(3), int64(2)}},
		{"dots in text", []any{"...and ${input.a}", "...", "...${input.a} more", "... ${input.a}"}, []any{"...and 7", "...", "...7 more", "... 7"}},
		{"escaped", []any{"$${input.a}", "...$${input.a}"}, []any{"${input.a}", "...${input.a}"}},
		{"escaped key", map[string]any{"$${a}": 1}, map[string]any{"$${a}": int64(1)}},
		{
			"scalars",
			[]any{1, int64(2), 1.5, true, nil, "s", json.Number("1.10"), uint64(18446744073709551615), []any{}, map[string]any{}},
			[]any{int64(1), int64(2), 1.5, true, nil, "s", json.Number("1.10"), json.Number("18446744073709551615"), []any{}, map[string]any{}},
		},
		{"a date from YAML", time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), "2026-01-02T00:00:00Z"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			template := compile(t, tc.source)
			got, err := template.Eval(scope(t))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.source, template.Source()); diff != "" {
				t.Errorf("Source: %s", diff)
			}
		})
	}
}

func TestSpreadRefuses(t *testing.T) {
	for _, tc := range []struct {
		source any
		want   string
	}{
		{map[string]any{"...": "${input.list}"}, "${input.list} is a list, and only a map can be spread into a map"},
		{map[string]any{"...": 5}, "the value is a number, and only a map can be spread into a map"},
		{[]any{"...${input.map}"}, "${input.map} is a map, and only a list can be spread into a list"},
	} {
		_, err := compile(t, tc.source).Eval(scope(t))
		if err == nil || err.Error() != tc.want || fault.CodeOf(err) != fault.Unusable {
			t.Errorf("%v: %v, want %s", tc.source, err, tc.want)
		}
	}
}

func TestProblemsAllAtOnce(t *testing.T) {
	_, problems := expr.Compile(map[string]any{
		"a":          "${inptu.x} and ${otuput.y}",
		"b":          []any{"fine ${input.a}", map[string]any{"c": "x ${uper(input.s)}"}, "...${nope.x}"},
		"...":        "${gateway.url}",
		"${input.k}": 1,
	}, rules)
	type place struct {
		Path    string
		Offset  int
		Message string
	}
	var got []place
	for _, p := range problems {
		got = append(got, place{fmt.Sprint(p.Path), p.Offset, p.Message})
	}
	want := []place{
		{"[...]", 9, "gateway stands without an argument"},
		{"[${input.k}]", 0, "a key cannot hold ${…}: ${input.k}"},
		{"[a]", 2, "unknown source inptu"},
		{"[a]", 17, "unknown source otuput"},
		{"[b 1 c]", 4, "unknown function uper"},
		{"[b 2]", 5, "unknown source nope"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNothingToReferTo(t *testing.T) {
	_, problems := expr.Compile("${input.x}", expr.Rules{})
	if len(problems) != 1 || problems[0].Hint != "nothing can be referred to here" {
		t.Errorf("%+v", problems)
	}
}

func TestTooDeep(t *testing.T) {
	var v any = "${input.a}"
	for range 1100 {
		v = []any{v}
	}
	if _, problems := expr.Compile(v, rules); len(problems) != 1 {
		t.Errorf("%+v", problems)
	}
	for _, s := range []string{
		strings.Repeat("${input.x | ", 60) + strings.Repeat("}", 60),
		strings.Repeat("${", 100000),
		"${" + strings.Repeat("(", 100000) + "1" + strings.Repeat(")", 100000) + "}",
		"${" + strings.Repeat("-", 20000) + "1}",
		"${1" + strings.Repeat(" + 1", 20000) + "}",
		// What expr-lang holds twice doubles with each level.
		"${" + strings.Repeat("(", 60) + "input.yes" + strings.Repeat(" ?: true)", 60) + "}",
		"${" + strings.Repeat("1 < (1 < (", 60) + "1" + strings.Repeat(") < 2) < 2", 60) + "}",
	} {
		if _, problems := expr.Compile(s, rules); len(problems) == 0 {
			t.Errorf("%.40s… is taken", s)
		}
	}
}

func TestLiteral(t *testing.T) {
	for _, tc := range []struct {
		source  any
		want    any
		literal bool
	}{
		{"text", "text", true},
		{"$${x}", "${x}", true},
		{5, int64(5), true},
		{nil, nil, true},
		{map[string]any{"a": []any{"b"}}, map[string]any{"a": []any{"b"}}, true},
		{"${1 + 1}", int64(2), true},
		{"n=${1 + 1}", "n=2", true},
		{`${"a${1}"}`, "a1", true},
		{"${input.a}", nil, false},
		{[]any{"${input.a}"}, nil, false},
		{"${now()}", nil, false},
	} {
		got, ok := compile(t, tc.source).Literal()
		if ok != tc.literal || ok && !cmp.Equal(got, tc.want) {
			t.Errorf("%v: %v, %v", tc.source, got, ok)
		}
	}
	raw := expr.Literal("${input.a}")
	if v, err := raw.Eval(scope(t)); v != "${input.a}" || err != nil || len(raw.References()) != 0 || raw.Source() != "${input.a}" {
		t.Errorf("Literal evaluates: %v, %v", v, err)
	}
}

func TestReferences(t *testing.T) {
	type ref struct{ Text, Source, Arg, Path, Follow, At string }
	refs := func(v any) (out []ref) {
		for _, r := range compile(t, v).References() {
			s := v
			for _, step := range r.At {
				switch step := step.(type) {
				case string:
					s = s.(map[string]any)[step]
				case int:
					s = s.([]any)[step]
				}
			}
			if text := s.(string)[r.Offset:]; !strings.HasPrefix(text, r.Text) {
				t.Errorf("%s is said to be at %v, byte %d, where %q is", r.Text, r.At, r.Offset, text)
			}
			out = append(out, ref{r.Text, r.Source, r.Arg, r.Path.String(), r.Follow, fmt.Sprint(r.At)})
		}
		return out
	}
	for _, tc := range []struct {
		source any
		want   []ref
	}{
		{"text", nil},
		{"$${input.a}", nil},
		{"${gateway:8090.public_url}/webhooks/done", []ref{{"gateway:8090.public_url", "gateway", "8090", ".public_url", "/webhooks/done", "[]"}}},
		{"x${input.a}y${input.b}z$${w}", []ref{
			{"input.a", "input", "", ".a", "y", "[]"},
			{"input.b", "input", "", ".b", "z${w}", "[]"},
		}},
		{"${input.a}${input.b}", []ref{{"input.a", "input", "", ".a", "", "[]"}, {"input.b", "input", "", ".b", "", "[]"}}},
		{`${input["odd key"][0][-1][*].x}`, []ref{{`input["odd key"][0][-1][*].x`, "input", "", `["odd key"][0][-1][*].x`, "", "[]"}}},
		{"${input.x | ${gateway:1.public_url}}/cb", []ref{
			{"input.x", "input", "", ".x", "/cb", "[]"},
			{"gateway:1.public_url", "gateway", "1", ".public_url", "/cb", "[]"},
		}},
		{"${input.x | https://${gateway:1.host}/base}/cb", []ref{
			{"input.x", "input", "", ".x", "/cb", "[]"},
			{"gateway:1.host", "gateway", "1", ".host", "/base/cb", "[]"},
		}},
		{`${input.x | "${input.a}-${input.b}"}/cb`, []ref{
			{"input.x", "input", "", ".x", "/cb", "[]"},
			{"input.a", "input", "", ".a", "-", "[]"},
			{"input.b", "input", "", ".b", "/cb", "[]"},
		}},
		{"${input.yes ? gateway:1.public_url : listener.url}/cb", []ref{
			{"input.yes", "input", "", ".yes", "/cb", "[]"},
			{"gateway:1.public_url", "gateway", "1", ".public_url", "/cb", "[]"},
			{"listener.url", "listener", "", ".url", "/cb", "[]"},
		}},
		{`${upper(input.a) + "${input.b}!"} ${filter(input.list, # > input.i)}`, []ref{
			{"input.a", "input", "", ".a", " ", "[]"},
			{"input.b", "input", "", ".b", "! ", "[]"},
			{"input.list", "input", "", ".list", "", "[]"},
			{"input.i", "input", "", ".i", "", "[]"},
		}},
		{map[string]any{"b": "${input.b}", "a": []any{"x", "...${input.list}"}, "...": "${input.map}"}, []ref{
			{"input.map", "input", "", ".map", "", "[...]"},
			{"input.list", "input", "", ".list", "", "[a 1]"},
			{"input.b", "input", "", ".b", "", "[b]"},
		}},
		{[]any{"...${input.list} more"}, []ref{{"input.list", "input", "", ".list", " more", "[0]"}}},
		{"${input}", []ref{{"input", "input", "", "", "", "[]"}}},
		{"${input.a as text | ${input.b} | ${input.f}}", []ref{
			{"input.a", "input", "", ".a", "", "[]"}, {"input.b", "input", "", ".b", "", "[]"}, {"input.f", "input", "", ".f", "", "[]"},
		}},
		{"${input.missing | ${input.a} | }", []ref{{"input.missing", "input", "", ".missing", "", "[]"}, {"input.a", "input", "", ".a", "", "[]"}}},
	} {
		if diff := cmp.Diff(tc.want, refs(tc.source)); diff != "" {
			t.Errorf("%v:\n%s", tc.source, diff)
		}
	}
}

func TestWalk(t *testing.T) {
	v := map[string]any{"a": []any{int64(1), map[string]any{"b": "x"}}, "0": "zero"}
	name := func(n string) expr.Step { return expr.Step{Name: n} }
	index := func(i int) expr.Step { return expr.Step{Kind: expr.Index, Index: i} }
	all := expr.Step{Kind: expr.All}
	for _, tc := range []struct {
		path expr.Path
		want any
	}{
		{nil, v},
		{expr.Path{name("a"), index(0)}, int64(1)},
		{expr.Path{name("a"), index(-1), name("b")}, "x"},
		{expr.Path{name("a"), index(2)}, nil},
		{expr.Path{name("a"), index(-3)}, nil},
		{expr.Path{name("a"), name("0")}, nil},
		{expr.Path{name("0")}, "zero"},
		{expr.Path{index(0)}, nil},
		{expr.Path{name("a"), all, name("b")}, []any{nil, "x"}},
		{expr.Path{all}, nil},
	} {
		if diff := cmp.Diff(tc.want, expr.Walk(v, tc.path)); diff != "" {
			t.Errorf("%s:\n%s", tc.path, diff)
		}
	}
	if got := expr.Walk(nil, expr.Path{name("a")}); got != nil {
		t.Errorf("Walk(nil) = %v", got)
	}
}

// asked is a scope that remembers what it was asked for.
type asked struct {
	expr.Map
	refs []string
	err  error
}

func (a *asked) Resolve(ref *expr.Reference) (any, error) {
	a.refs = append(a.refs, ref.Text)
	if a.err != nil && ref.Source == "gateway" {
		return nil, a.err
	}
	return a.Map.Resolve(ref)
}

func TestResolvesOnlyWhatItNeeds(t *testing.T) {
	for _, tc := range []struct{ template, want string }{
		{"${input.a | ${input.b}}", "input.a"},
		{"${input.missing | ${input.b}}", "input.missing input.b"},
		{"${input.yes ? input.a : gateway:8090.port}", "input.yes input.a"},
		{"${input.no && input.a}", "input.no"},
		{"${input.yes || input.a}", "input.yes"},
		{"${input.a ?? input.b}", "input.a"},
	} {
		a := &asked{Map: scope(t)}
		if _, err := compile(t, tc.template).Eval(a); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(a.refs, " "); got != tc.want {
			t.Errorf("%s asked for %s, want %s", tc.template, got, tc.want)
		}
	}
}

func TestScopeErrorsComeThrough(t *testing.T) {
	down := fault.New(fault.Unavailable, "the gateway is not up yet", "wait")
	for _, template := range []any{
		"${gateway:8090.port}", "x${gateway:8090.port}", "${gateway:8090.port | 3}", "${gateway:8090.port + 1}", "${gateway:8090.port as text}",
		"${filter(input.list, # > gateway:8090.port)}", `${"x" + "${gateway:8090.port}"}`,
		map[string]any{"a": []any{"...${gateway:8090.port}"}},
	} {
		_, err := compile(t, template).Eval(&asked{Map: scope(t), err: down})
		if !errors.Is(err, down) || fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("%v: %v", template, err)
		}
	}
}

func TestConcurrentEvaluation(t *testing.T) {
	template := compile(t, map[string]any{"a": "${input.a}", "b": "${map(input.list, # + input.a)}", "c": "x${input.s | d}${upper(input.s)}"})
	s := scope(t)
	want, err := template.Eval(s)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if got, err := template.Eval(s); err != nil || !cmp.Equal(got, want) {
					t.Errorf("%v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

// Evaluating must leave the scope as it was.
func TestScopeStaysAsItIs(t *testing.T) {
	s := scope(t)
	for _, template := range []string{
		"${sort(input.list)}", "${reverse(input.list)}", "${sortBy(input.items, .name, \"desc\")}", "${concat(input.list, [1])}",
		"${map(input.items, 1)}", "${uniq(input.tags)}", "${take(input.list, 1) | 3}", "${groupBy(input.items, .name)}", "${flatten(input.nested)}",
	} {
		if _, err := compile(t, template).Eval(s); err != nil {
			t.Errorf("%s: %v", template, err)
		}
	}
	if diff := cmp.Diff(scope(t), s); diff != "" {
		t.Error(diff)
	}
}

func TestReferencesOfWhatDoesNotCompile(t *testing.T) {
	v := map[string]any{"a": "${uper(input.x)} ${output.y}", "b": []any{"${gateway:8090.port} ${nobody.z}", "${input.v as integr}"}}
	broken, problems := expr.Lenient(v, rules)
	if len(problems) != 3 {
		t.Errorf("problems: %v", problems)
	}
	if v, err := broken.Eval(nil); err == nil || !strings.Contains(err.Error(), problems[0].Message) {
		t.Errorf("it gives %v, %v", v, err)
	}
	var got []string
	for _, r := range broken.References() {
		got = append(got, r.Text)
	}
	if diff := cmp.Diff([]string{"output.y", "gateway:8090.port", "input.v"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
