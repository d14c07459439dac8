package expr_test

import (
	"testing"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

// Paths must cost next to nothing: a listener evaluates them for every request.
func BenchmarkEval(b *testing.B) {
	body, err := value.Decode([]byte(`{"task_id":"task-123","status":"completed","size":{"before":2048,"after":1024},"result":{"url":"https://x"}}`))
	if err != nil {
		b.Fatal(err)
	}
	s := expr.Map{"body": body}
	for _, bc := range []struct {
		name   string
		source any
	}{
		{"path", "${body.task_id}"},
		{"deep", "${body.result.url}"},
		{"default", `${body.none | "x"}`},
		{"text", "task ${body.task_id} is ${body.status}"},
		{"map", map[string]any{"url": "${body.result.url}", "id": "${body.task_id}"}},
		{"arithmetic", "${body.size.before - body.size.after}"},
		{"condition", `${body.status == "completed" && body.size.after > 0}`},
	} {
		b.Run(bc.name, func(b *testing.B) {
			template := compile(b, bc.source)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := template.Eval(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		expr.Compile("${body.size.before - body.size.after}", rules)
	}
}

// TestPathsAllocateNothing holds what the benchmark shows.
func TestPathsAllocateNothing(t *testing.T) {
	s := expr.Map{"body": map[string]any{"task_id": "task-123", "n": int64(5000)}, "gateway:8090": map[string]any{"public_url": "https://x"}}
	for source, most := range map[string]float64{
		"${body.task_id}":            0,
		"${body.n}":                  0,
		"${body.none | 22}":          0,
		"${gateway:8090.public_url}": 0,
		"id ${body.task_id}":         2,
	} {
		template := compile(t, source)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := template.Eval(s); err != nil {
				t.Fatal(err)
			}
		}); n > most {
			t.Errorf("%s allocates %v times", source, n)
		}
	}
}
