package observability_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/switchbackhq/switchback/pkg/boot"
	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/pkg/telemetry"
	"github.com/switchbackhq/switchback/services/gateway"
	"github.com/switchbackhq/switchback/services/listener"
	"github.com/switchbackhq/switchback/services/runner"
)

const patience = time.Minute

// exported is what a metric is, as the services say it: the labels that it may have and the values seen of each.
type exported struct {
	kind   string
	labels map[string]map[string]bool
}

// metrics are all that the services export, by the names that a query uses.
type metrics map[string]*exported

func (m metrics) add(name, kind string, labels ...string) *exported {
	e := m[name]
	if e == nil {
		e = &exported{kind: kind, labels: map[string]map[string]bool{}}
		m[name] = e
	}
	for _, l := range labels {
		if e.labels[l] == nil {
			e.labels[l] = map[string]bool{}
		}
	}
	return e
}

const file = `
listener:
  host: 127.0.0.1
  port: 0
  path: /done/{id}
  identify_by: ${path.id}

gateway:
  type: ssh-tunnel
  port: 8090
  connection: {host: 127.0.0.1, port: 1, known_hosts: KNOWN, auth: {type: password, username: u, password: p}}

components:
  - {id: outside, base_url: OUTSIDE, path: /, body: {}}

workflows:
  - id: sleeps
    jobs:
      - {id: ask, component: outside}
      - {id: sleep, type: wait, wait_for: "${input.task}", depends_on: [ask]}
  - id: pauses
    job: {id: pause, type: delay, duration: 1ms}
`

// services runs a listener, a runner and a gateway, each with a registry of its own as its binary has it, and makes them
// do what they can: a run that sleeps and is called back, a callback for nobody, a request for no workflow, a timer.
func services(t *testing.T) []*prometheus.Registry {
	t.Helper()
	outside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(outside.Close)
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	source := strings.NewReplacer("OUTSIDE", outside.URL, "KNOWN", known).Replace(file)
	doc, err := compose.Parse([]byte(source), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	server := bustest.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", outside.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")

	var registries []*prometheus.Registry
	var b *bus.Bus
	// As boot does it.
	begin := func(name string, build func(b *bus.Bus, r *prometheus.Registry, tracing *telemetry.Tracing) (supervise.Service, error)) supervise.Service {
		var err error
		if b, err = bus.Connect(t.Context(), bus.Options{URL: server.URL(), Name: name}); err != nil {
			t.Fatal(err)
		}
		own := b
		t.Cleanup(func() { _ = own.Close(context.Background()) })
		if err := b.Provision(t.Context(), bus.Layout{}); err != nil {
			t.Fatal(err)
		}
		registry := telemetry.NewRegistry(name)
		registry.MustRegister(boot.BusMetrics(b))
		tracing, err := telemetry.StartTracing(t.Context(), name, telemetry.NewLogger(io.Discard, nil, telemetry.Text), registry)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tracing.Stop(context.Background()) })
		s, err := build(b, registry, tracing)
		if err != nil {
			t.Fatal(err)
		}
		registries = append(registries, registry)
		run(t, s)
		return s
	}
	l, _ := begin("listener", func(b *bus.Bus, r *prometheus.Registry, tracing *telemetry.Tracing) (supervise.Service, error) {
		return listener.New(listener.DefaultConfig(), listener.Deps{Bus: b, Document: doc, Registry: r, Tracer: tracing.Tracer(listener.Scope)})
	}).(*listener.Listener)
	begin("runner", func(b *bus.Bus, r *prometheus.Registry, tracing *telemetry.Tracing) (supervise.Service, error) {
		return runner.New(runner.Config{}, runner.Deps{Bus: b, Document: doc, Getenv: os.LookupEnv, Registry: r, Tracer: tracing.Tracer(runner.Scope)}), nil
	})
	begin("gateway", func(b *bus.Bus, r *prometheus.Registry, _ *telemetry.Tracing) (supervise.Service, error) {
		return gateway.New(gateway.Config{}, gateway.Deps{Bus: b, Document: doc, Registry: r})
	})
	for _, r := range []*event.RunRequest{
		{Workflow: "sleeps", RunID: "r1", MsgID: "r1", Input: []byte(`{"task":"t1"}`)},
		{Workflow: "pauses", RunID: "r2", MsgID: "r2"},
		{Workflow: "none", RunID: "r3", MsgID: "r3"},
	} {
		if _, err := b.PublishRunRequest(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"t1", "nobody"} {
		resp, err := http.Post(l.Addresses()[0].URL+"/done/"+id, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	for id, status := range map[string]event.Status{"r1": event.StatusCompleted, "r2": event.StatusCompleted, "r3": event.StatusRejected} {
		ended(t, b, id, status)
	}
	return registries
}

// run runs a service until the test ends.
func run(t *testing.T, s supervise.Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", s.Name(), err)
		}
	})
	select {
	case <-s.(supervise.Readier).Ready():
	case <-time.After(patience):
		t.Fatalf("%s is not ready", s.Name())
	}
}

func ended(t *testing.T, b *bus.Bus, id string, status event.Status) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		e, err := b.Bucket("runs").Get(t.Context(), id)
		if err == nil && strings.Contains(string(e.Value), fmt.Sprintf(`"status":%q`, status)) && strings.Contains(string(e.Value), `"ended_at"`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("run %s is not %s: %v %v", id, status, e, err)
		}
	}
}

// described finds a metric's name and its labels in what a registry says of it.
var described = regexp.MustCompile(`fqName: "(\w+)".*constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)

// scrape gives what registries export, the metrics that have no series yet included.
func scrape(t *testing.T, registries []*prometheus.Registry) metrics {
	t.Helper()
	all := metrics{}
	for _, registry := range registries {
		descs := make(chan *prometheus.Desc)
		go func() {
			registry.Describe(descs)
			close(descs)
		}()
		for d := range descs {
			m := described.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("a metric is described in another form: %s", d)
			}
			all.add(m[1]+"_bucket", "", "le")
			for _, suffix := range []string{"", "_bucket", "_sum", "_count"} { // whether it is a histogram is not said
				e := all.add(m[1]+suffix, "")
				for _, l := range strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' }) {
					all.add(m[1]+suffix, "", l)
				}
				for _, pair := range strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' }) {
					name, v, _ := strings.Cut(pair, "=")
					all.add(m[1]+suffix, "", name)
					e.labels[name][strings.Trim(v, `"`)] = true
				}
			}
		}
		// And once as Prometheus does it.
		endpoint := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
		resp, err := http.Get(endpoint.URL)
		if err != nil {
			t.Fatal(err)
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("/metrics answers %s: %v", resp.Status, err)
		}
		resp.Body.Close()
		endpoint.Close()
		for name, family := range families {
			names := []string{name}
			if family.GetType().String() == "HISTOGRAM" {
				names = []string{name + "_bucket", name + "_sum", name + "_count"}
				all.add(name+"_bucket", "", "le")
			}
			for _, n := range names {
				e := all.add(n, family.GetType().String())
				e.kind = family.GetType().String()
				for _, m := range family.GetMetric() {
					for _, l := range m.GetLabel() {
						all.add(n, "", l.GetName())
						e.labels[l.GetName()][l.GetValue()] = true
					}
				}
			}
		}
	}
	return all
}

func TestMetricNames(t *testing.T) {
	for _, registry := range services(t) {
		problems, err := testutil.GatherAndLint(registry)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
