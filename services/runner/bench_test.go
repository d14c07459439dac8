package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner"
)

// BenchmarkRun is a whole run with one callback, 64 at once, with the server and the outside service in the process. What it
// allocates is worth comparing, also on a busy machine: go test -run ^$ -bench Run -benchmem -memprofile mem.out ./services/runner.
func BenchmarkRun(b *testing.B) {
	client := bustest.Start(b).Provisioned(bus.Layout{})
	keys := make(chan string, 64)
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"task":"t-1","state":"queued"}`))
		keys <- r.Header.Get("Idempotency-Key")
	}))
	defer outside.Close()
	ctx := runs(b, client, `
listener: {path: /done, identify_by: "${body.id}"}
component:
  id: service
  base_url: OUTSIDE
  path: /orders
  method: POST
  body: {prompt: "${input.prompt}", callback: "${listener.url}", id: "${listener.id}"}
workflow:
  id: order
  job: {id: order, component: service, output: {url: "${output.url}", size: "${output.size}"}}
`, outside.URL)
	places := make(chan struct{}, 64)
	stop, err := client.Subscribe(ctx, "told", "", func(_ context.Context, n *bus.Note) {
		var run event.Run
		if err := json.Unmarshal(n.Data, &run); err != nil || run.Status != event.StatusCompleted {
			b.Errorf("%s, %v", n.Data, err)
		}
		<-places
	})
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	for range cap(places) {
		go func() {
			for {
				select {
				case key := <-keys:
					if _, err := client.PublishCallback(ctx, &event.Callback{ID: key, Outcome: event.Succeeded, Result: []byte(`{"url":"https://cdn.example/x.png","size":12345}`)}); err != nil {
						b.Error(err)
					}
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	b.ReportAllocs()
	for b.Loop() {
		places <- struct{}{}
		if _, err := client.PublishRunRequest(ctx, &event.RunRequest{Workflow: "order", Input: []byte(`{"prompt":"a harbour at night"}`), ReplyTo: "told"}); err != nil {
			b.Fatal(err)
		}
	}
	for range cap(places) {
		places <- struct{}{}
	}
}

// runs starts a runner that ends with the benchmark, and with it ctx.
func runs(b *testing.B, client *bus.Bus, file, outside string) (ctx context.Context) {
	b.Helper()
	none := func(string) (string, bool) { return "", false }
	doc, err := compose.Parse([]byte(strings.ReplaceAll(file, "OUTSIDE", outside)), none)
	if err != nil {
		b.Fatal(err)
	}
	r := runner.New(runner.Config{}, runner.Deps{Bus: client, Document: doc, Getenv: none})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	<-r.Ready()
	return ctx
}

// BenchmarkManyWaits is how long a run with a thousand waits takes to fall asleep, and to be cancelled: by a for-each whose
// items call an outside service, by a job with as many ids, and by jobs side by side.
func BenchmarkManyWaits(b *testing.B) {
	const many = 1000
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"task":"t-1","state":"queued"}`))
	}))
	b.Cleanup(outside.Close)
	var jobs strings.Builder
	for i := range many {
		fmt.Fprintf(&jobs, "\n    - {id: j%d, type: wait}", i)
	}
	for name, workflow := range map[string]string{
		"items": `
listener: {path: /done, identify_by: "${body.id}"}
component: {id: service, base_url: OUTSIDE, method: POST, body: {callback: "${listener.url}", id: "${listener.id}"}}
workflow: {id: many, job: {id: each, type: for-each, input: "${input.list}", do: {component: service}}}`,
		"ids": `
workflow: {id: many, job: {id: all, type: wait, wait_for: "${input.list}"}}`,
		"jobs": `
workflow:
  id: many
  jobs:` + jobs.String(),
	} {
		b.Run(name, func(b *testing.B) {
			client := bustest.Start(b).Provisioned(bus.Layout{})
			ctx := runs(b, client, workflow, outside.URL)
			stands := make(chan struct{}, many)
			watching := make(chan struct{})
			go func() {
				_ = client.Bucket(subject.BucketWaits).Watch(ctx, "", func(e *bus.Entry) {
					switch {
					case e == nil:
						close(watching)
					case !e.Deleted:
						stands <- struct{}{}
					}
				})
			}()
			<-watching
			var asleep, cancelled time.Duration
			n := 0
			for b.Loop() {
				n++
				id := fmt.Sprintf("r%d", n)
				list := make([]string, many)
				for i := range list {
					list[i] = fmt.Sprintf("%s-%d", id, i)
				}
				input, err := json.Marshal(map[string]any{"list": list})
				if err != nil {
					b.Fatal(err)
				}
				began := time.Now()
				if _, err := client.PublishRunRequest(ctx, &event.RunRequest{RunID: id, MsgID: id, Workflow: "many", Input: input}); err != nil {
					b.Fatal(err)
				}
				for range many {
					<-stands
				}
				asleep += time.Since(began)
				began = time.Now()
				if _, err := client.Request(ctx, subject.RunCancel(id), nil, nil); err != nil {
					b.Fatal(err)
				}
				cancelled += time.Since(began)
			}
			b.ReportMetric(float64(asleep.Milliseconds())/float64(n), "ms-to-sleep")
			b.ReportMetric(float64(cancelled.Milliseconds())/float64(n), "ms-to-cancel")
		})
	}
}
