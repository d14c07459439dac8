package demo

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
)

func TestMain(m *testing.M) {
	// fasthttp's clock, which every process has once.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// TestDemo runs all of it, and nothing is left: no goroutine, no file.
func TestDemo(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var progress, lines bytes.Buffer
	run, err := Run(t.Context(), Options{
		Input: []byte(`{"prompt":"a harbour","size":"640x480"}`), Progress: &progress, Out: &lines, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if run.Status != event.StatusCompleted {
		t.Fatalf("the run is %s: %+v", run.Status, run.Error)
	}
	var output struct {
		Picture       string
		Framed        string
		Width, Height int
	}
	if err := json.Unmarshal(run.Output, &output); err != nil {
		t.Fatal(err)
	}
	if output.Width != 640 || output.Height != 480 || !strings.HasSuffix(output.Picture, "picture-1.png") || !strings.HasSuffix(output.Framed, "picture-1-framed.png") {
		t.Errorf("output %s", run.Output)
	}
	for _, want := range []string{"paint: started\n", "paint: waiting until ", "50%", "paint: completed in ", "frame: completed in "} {
		if !strings.Contains(progress.String(), want) {
			t.Errorf("no %q in the progress:\n%s", want, progress.String())
		}
	}
	if !strings.Contains(lines.String(), "[Listener] POST http://127.0.0.1:") {
		t.Errorf("no listener in the lines:\n%s", lines.String())
	}
	left, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left on disk: %v", left)
	}
}

func TestDemoOfAFailure(t *testing.T) {
	var progress, lines bytes.Buffer
	run, err := Run(t.Context(), Options{Input: []byte(`{"prompt":"fail"}`), Progress: &progress, Out: &lines, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if run.Status != event.StatusFailed || run.Error == nil || !strings.Contains(run.Error.Message, "the paint ran out") {
		t.Errorf("the run is %s: %+v", run.Status, run.Error)
	}
}

func TestExampleIsTheDemo(t *testing.T) {
	example, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "image-generation", "switchback.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(example), string(file)); diff != "" {
		t.Errorf("examples/image-generation/switchback.yaml and the demo's differ (-example +demo):\n%s", diff)
	}
}

func TestExamplesLoad(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "examples", "*", "switchback.yaml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, f := range files {
		doc, err := compose.Load(compose.Options{Files: []string{f}})
		if err != nil || len(doc.Needs) > 0 {
			t.Errorf("%s: %v", f, err)
		}
	}
}
