package runner_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
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
	doc, err := compose.Parse([]byte(strings.ReplaceAll(`
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
`, "OUTSIDE", outside.URL)), func(string) (string, bool) { return "", false })
	if err != nil {
		b.Fatal(err)
	}
	r := runner.New(runner.Config{}, runner.Deps{Bus: client, Document: doc, Getenv: func(string) (string, bool) { return "", false }})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}()
	<-r.Ready()
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
