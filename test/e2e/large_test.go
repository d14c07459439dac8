package e2e_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/journal"
	"github.com/switchbackhq/switchback/test/system"
)

const threeMiB = 3 << 20

// quoted is a JSON string of n bytes.
func quoted(letter string, n int) string { return `"` + strings.Repeat(letter, n-2) + `"` }

// largeFile is a workflow whose service answers with the data given, and whose callback may be as large.
func largeFile(t *testing.T, port int, answer func(key string) string) string {
	t.Helper()
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer(r.Header.Get("Idempotency-Key")))
	}))
	t.Cleanup(outside.Close)
	return system.Write(t, "switchback.yaml", fmt.Sprintf(`
listener: {host: 127.0.0.1, port: %d, path: /done, identify_by: "${body.ref}", result: "${body.result}"}
components:
  outside:
    base_url: %s
    path: /work
    body: {callback: "${listener.url}", ref: "${listener.id}", given: "${input.given}"}
    output: {answered: "${response.data}", called: "${result}"}
workflow:
  id: work
  job: {id: ask, component: outside}
  output: {answered: "${jobs.ask.output.answered}", called: "${jobs.ask.output.called}", given: "${input.given}"}
`, port, outside.URL))
}

func post(ctx context.Context, port int, ref, result string) error {
	status, body, err := system.Post(ctx, callbackURL(port), fmt.Sprintf(`{"ref":%q,"result":%s}`, ref, result))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, body)
	}
	return err
}

// command runs switchback against a NATS and gives what it prints.
func command(t *testing.T, url string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), system.Binary(t, "switchback"), append(args, "--nats", url)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("switchback %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// TestPayloadsLargerThanAMessage takes 3 MiB in every place, on a NATS that takes 1 MiB and on the embedded one.
func TestPayloadsLargerThanAMessage(t *testing.T) {
	answered, called, given := quoted("a", threeMiB), quoted("c", threeMiB), quoted("g", threeMiB)
	want := `{"answered":` + answered + `,"called":` + called + `,"given":` + given + `}`
	check := func(t *testing.T, url string, port int) {
		t.Helper()
		input := filepath.Join(t.TempDir(), "input.json")
		if err := os.WriteFile(input, []byte(`{"given":`+given+`}`), 0o600); err != nil {
			t.Fatal(err)
		}
		var output json.RawMessage
		if err := json.Unmarshal([]byte(command(t, url, "run", "work", "--input", "@"+input)), &output); err != nil {
			t.Fatal(err)
		}
		if got := compact(t, output); got != want {
			t.Errorf("the output has %d bytes, want %d", len(got), len(want))
		}
		var runs []system.Run
		if err := json.Unmarshal([]byte(command(t, url, "runs", "list", "-o", "json")), &runs); err != nil || len(runs) != 1 {
			t.Fatalf("%d runs, %v", len(runs), err)
		}
		if compact(t, runs[0].Output) != want {
			t.Error("a listing as JSON has not the whole output")
		}
		if list := command(t, url, "runs", "list"); !strings.Contains(list, "completed") {
			t.Errorf("the table is %s", list)
		}
		var run system.Run
		if err := json.Unmarshal([]byte(command(t, url, "runs", "show", runs[0].ID, "-o", "json")), &run); err != nil || compact(t, run.Output) != want {
			t.Errorf("shown without its output: %v", err)
		}
		// What is too large says so. Both are recorded, without the whole of their bodies.
		status, body, err := system.Post(t.Context(), callbackURL(port), `{"ref":"x","result":`+quoted("x", 5<<20)+`}`)
		if err != nil || status != http.StatusRequestEntityTooLarge || !strings.Contains(body, "max_body_size") {
			t.Errorf("5 MiB: %d %s %v", status, body, err)
		}
		system.Eventually(t, "the callbacks are recorded", func() error {
			var records []struct {
				Verdict  string `json:"verdict"`
				BodySize int    `json:"body_size"`
				Cut      bool   `json:"cut"`
			}
			if err := json.Unmarshal([]byte(command(t, url, "callbacks", "list", "-o", "json")), &records); err != nil {
				return err
			}
			verdicts := map[string]int{}
			for _, r := range records {
				if r.BodySize < threeMiB || !r.Cut {
					return fmt.Errorf("there are %+v", records)
				}
				verdicts[r.Verdict]++
			}
			if want := map[string]int{"accepted": 1, "too_large": 1}; !maps.Equal(verdicts, want) {
				return fmt.Errorf("there are %+v, want %v", records, want)
			}
			return nil
		})
	}
	setting := func(t *testing.T) (file string, port int) {
		t.Helper()
		port = system.FreePort(t)
		return largeFile(t, port, func(key string) string {
			if err := post(context.Background(), port, key, called); err != nil {
				t.Errorf("callback: %v", err)
			}
			return `{"data":` + answered + `}`
		}), port
	}
	t.Run("external", func(t *testing.T) {
		nats := system.StartNATS(t)
		file, port := setting(t)
		nats.Service("listener", file, redelivery).Ready()
		nats.Service("runner", file).Ready()
		check(t, nats.URL(), port)
	})
	t.Run("up", func(t *testing.T) {
		file, port := setting(t)
		natsPort := system.FreePort(t)
		system.Up(t, t.TempDir(), file, natsPort).Ready()
		check(t, fmt.Sprintf("nats://127.0.0.1:%d", natsPort), port)
	})
}

func compact(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestKilledWhileALargeRunIsSaved kills the runner when it has written an object for a run, and the listener while it
// writes one for a callback. Nothing is lost, and nothing is left over.
func TestKilledWhileALargeRunIsSaved(t *testing.T) {
	const size = 1200 << 10
	nats, port := system.StartNATS(t), system.FreePort(t)
	file := largeFile(t, port, func(string) string { return `{"data":` + quoted("a", size) + `}` })
	listener := nats.Service("listener", file, redelivery).Ready()
	runner := nats.Service("runner", file).Ready()
	c := system.Connect(t, nats.URL())
	objects := watch(t, c, "$O.*.M.>")
	parts := watch(t, c, "$O.payloads.C.callback.>")
	restart := func(p *system.Process, name string) *system.Process {
		p.Kill()
		return nats.Service(name, file).Ready()
	}
	const runs = 3
	for i := range runs {
		id := fmt.Sprintf("large-%d", i)
		c.Ask("work", id, fmt.Sprintf(`{"given":%s}`, quoted("g", 900<<10)))
		objects(id + ".")
		runner = restart(runner, "runner")
		c.Await(id, "waiting")

		answers := make(chan error, 1)
		go func() { answers <- post(context.Background(), port, id+".ask", quoted("c", size)) }()
		parts("")
		listener = restart(listener, "listener")
		if err := <-answers; err != nil { // as a provider does: again, until it is answered 200
			system.Eventually(t, "the callback is taken", func() error { return post(t.Context(), port, id+".ask", quoted("c", size)) })
		}
		objects(id + ".")
		runner = restart(runner, "runner")
		c.Await(id, "completed")
		run := c.Whole(id)
		want := fmt.Sprintf(`{"answered":%s,"called":%s,"given":%s}`, quoted("a", size), quoted("c", size), quoted("g", 900<<10))
		if string(run.Output) != want {
			t.Errorf("run %s: an output of %d bytes, want %d", id, len(run.Output), len(want))
		}
	}
	b, err := bus.Connect(t.Context(), bus.Options{URL: nats.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close(context.Background()) }()
	left, err := journal.New(b, time.Hour).Sweep(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	names, err := b.Objects(subject.BucketDocuments).Names(t.Context())
	if err != nil || len(names) != runs {
		t.Errorf("after sweeping there are %q: %v", names, err)
	}
	t.Logf("the kills have left %d objects", left)
}

// watch subscribes to what is written into object stores. The function that it gives waits for an object whose name
// begins so.
func watch(t *testing.T, c *system.Client, subjects string) func(beginning string) {
	t.Helper()
	sub, err := c.NC.SubscribeSync(subjects)
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	if err := c.NC.Flush(); err != nil {
		t.Fatal(err)
	}
	return func(beginning string) {
		t.Helper()
		for {
			m, err := sub.NextMsg(system.Patience)
			if err != nil {
				t.Fatalf("no object %s… is written: %v", beginning, err)
			}
			if strings.HasPrefix(objectName(m), beginning) {
				return
			}
		}
	}
}

func objectName(m *nats.Msg) string {
	tokens := strings.SplitN(m.Subject, ".", 4)
	if tokens[2] == "C" {
		return tokens[3]
	}
	name, _ := base64.URLEncoding.DecodeString(tokens[3])
	return string(name)
}
