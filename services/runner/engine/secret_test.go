package engine_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

func TestMaskedJSONStaysJSON(t *testing.T) {
	var s engine.Secrets
	s.Add("12345678")
	s.Add(`a"b\c/d`)
	s.Add("short")
	for in, want := range map[string]string{
		`{"n":1.50,"big":12345678901234567890123}`: `{"big":"***90***90123","n":1.50}`,
		`{"n":1.50}`: `{"n":1.50}`,
		`12345678`:   `"***"`,
		`["x a\"b\\c/d y",{"k12345678":null},true,"a\u0022b"]`: `["x *** y",{"k***":null},true,"a\"b"]`,
		`"short"`:          `"short"`,
		``:                 ``,
		`12345678 no JSON`: `"***"`,
	} {
		if got := string(s.MaskJSON(json.RawMessage(in))); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if got := string(new(engine.Secrets).MaskJSON(json.RawMessage(` 1`))); got != " 1" {
		t.Errorf("nothing to hide: %q", got)
	}
}

type variables map[string]string

func (v variables) Resolve(ref *expr.Reference) (any, error) { return v[ref.Path[0].Name], nil }

// A job's input is kept without the variables in it. What is made of it later is made with them.
func TestSecretsInAJobsInput(t *testing.T) {
	withEnv := func(v any) *expr.Template {
		tpl, problems := expr.Compile(v, expr.Rules{Sources: map[string]expr.Arg{"env": expr.NoArg, "input": expr.NoArg}})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return tpl
	}
	input := withEnv(map[string]any{"key": "${env.KEY}", "n": "${input.n}"})
	kept := `{"key":"***","n":1}`

	asking := job("a")
	asking.Input = input
	c := component(0)
	c.Actions["run"].Output, c.Actions["run"].OutputNeedsResult = template(t, map[string]any{"given": "${input}"}), true
	w := world(c, asking)
	w.Static = variables{"KEY": "hunter22"}
	answer := responded("a", 1, after(time.Second))
	answer.Input = json.RawMessage(kept) // as the action gives it
	run, _ := play(t, w, requested(t0), answer, callback("r.a", 9, event.Succeeded, `{}`, after(2*time.Second)))
	if got, want := string(run.Output), `{"given":{"key":"hunter22","n":1}}`; got != want {
		t.Errorf("output %s, want %s", got, want)
	}

	waiting := &compose.Job{ID: "b", Type: compose.JobWait, Input: input}
	w = world(component(0), waiting)
	w.Static = variables{"KEY": "hunter22"}
	if run, _ = play(t, w, requested(t0)); string(run.Jobs["b"].Input) != kept {
		t.Errorf("the input of a wait is kept as %s, want %s", run.Jobs["b"].Input, kept)
	}
}
