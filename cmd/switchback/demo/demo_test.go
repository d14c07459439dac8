package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/cmd/switchback/demo/painter"
	"github.com/switchbackhq/switchback/cmd/switchback/embed"
	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/cmd/switchback/up"
	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/pkg/telemetry"
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
	var run *event.Run
	onFreePorts(t, func() (err error) {
		run, err = Run(t.Context(), Options{
			Input: []byte(`{"prompt":"a harbour","size":"640x480"}`), Progress: &progress, Out: &lines, Log: slog.New(slog.DiscardHandler),
		})
		return err
	})
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
	var run *event.Run
	onFreePorts(t, func() (err error) {
		run, err = Run(t.Context(), Options{Input: []byte(`{"prompt":"fail"}`), Progress: &progress, Out: &lines, Log: slog.New(slog.DiscardHandler)})
		return err
	})
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

// TestStoryboard carries examples/storyboard out: a callback for each scene, a run within the run, two votes of three.
func TestStoryboard(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	outputs := map[event.Outcome]string{}
	onFreePorts(t, func() error {
		hooks, port, err := freePorts(t.Context())
		if err != nil {
			return err
		}
		return up.Run(t.Context(), up.Options{
			Compose: compose.Options{Files: []string{filepath.Join("..", "..", "..", "examples", "storyboard", "switchback.yaml")}, Set: []string{
				"listener.host=127.0.0.1", "listener.port=" + hooks, "components.painter.base_url=http://127.0.0.1:" + port,
			}},
			Embedded: embed.Options{Dir: t.TempDir(), SyncInterval: time.Minute, Logger: log},
			Admin:    telemetry.AdminConfig{Addr: "127.0.0.1:0"},
			Before:   []supervise.Service{painter.New(painter.Config{Addr: "127.0.0.1:" + port, Step: time.Millisecond}, log)},
			Out:      io.Discard,
			Log:      log,
			Work: func(ctx context.Context, b *bus.Bus) error {
				for outcome, film := range map[event.Outcome]string{event.Succeeded: "dawn", event.Failed: "dusk"} {
					if outputs[outcome], err = storyboard(ctx, client.New(b, ""), film, outcome); err != nil {
						return err
					}
				}
				return nil
			},
		})
	})
	if got := outputs[event.Succeeded]; !strings.Contains(got, `"decided_by":["ann","eve"]`) || strings.Count(got, "/pictures/picture-") != 5 {
		t.Errorf("two votes of three give %s", got)
	}
	if got := outputs[event.Failed]; !strings.Contains(got, `"decided_by":["boss"]`) || !strings.Contains(got, "does not like it") {
		t.Errorf("two refusals of three give %s", got)
	}
}

// storyboard asks for a run, votes for it, and gives its output. The votes may be there before they are waited for.
func storyboard(ctx context.Context, c *client.Client, film string, outcome event.Outcome) (output string, err error) {
	id, err := c.Start(ctx, "storyboard", fmt.Appendf(nil, `{"film":%q,"customer":"acme","scenes":["a","b","c","d","e"]}`, film))
	for _, editor := range []string{"ann", "eve"} {
		if err == nil {
			_, err = c.Send(ctx, &event.Callback{
				ID: "vote-" + film + "-" + editor, Outcome: outcome, Result: fmt.Appendf(nil, `{"by":%q}`, editor), Error: editor + " does not like it",
			})
		}
	}
	if err == nil {
		_, err = c.Send(ctx, &event.Callback{ID: "boss-" + film, Outcome: event.Succeeded})
	}
	if err != nil {
		return "", err
	}
	run, err := c.Watch(ctx, id, show.Quiet{})
	for fault.CodeOf(err) == fault.NotFound { // no runner has come to it yet
		run, err = c.Watch(ctx, id, show.Quiet{})
	}
	if err == nil && run.Status != event.StatusCompleted {
		err = fmt.Errorf("the run is %s: %+v", run.Status, run.Error)
	}
	if err != nil {
		return "", err
	}
	return string(run.Output), nil
}

// onFreePorts does it again where another process has taken a port that was free just before.
func onFreePorts(t *testing.T, do func() error) {
	t.Helper()
	for left := 5; ; left-- {
		switch err := do(); {
		case err == nil:
			return
		case left == 0 || !errors.Is(err, syscall.EADDRINUSE):
			t.Fatal(err)
		}
	}
}
