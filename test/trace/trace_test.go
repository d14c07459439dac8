package trace_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/switchbackhq/switchback/test/system"
	"github.com/switchbackhq/switchback/test/trace"
)

func TestMain(m *testing.M) { system.Main(m) }

const (
	// The traces of whoever asks for the run, and of whoever calls back.
	askTrace, askSpan   = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	callTrace, callSpan = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

	server   = tracepb.Span_SPAN_KIND_SERVER
	producer = tracepb.Span_SPAN_KIND_PRODUCER
	consumer = tracepb.Span_SPAN_KIND_CONSUMER
	client   = tracepb.Span_SPAN_KIND_CLIENT
)

func traceparent(trace, span string) string { return "00-" + trace + "-" + span + "-01" }

// outside takes requests and notes the traceparent of each, by path.
type outside struct {
	*httptest.Server

	mu   sync.Mutex
	seen map[string]string
}

func startOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{seen: map[string]string{}}
	o.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.seen[r.URL.Path] = r.Header.Get("Traceparent")
	}))
	t.Cleanup(o.Close)
	return o
}

// traceparent waits for a request at a path and gives what it brought.
func (o *outside) traceparent(t *testing.T, path string) (trace, span string) {
	t.Helper()
	var got string
	system.Eventually(t, "the outside service is asked at "+path, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		var ok bool
		if got, ok = o.seen[path]; !ok {
			return fmt.Errorf("asked at %v", o.seen)
		}
		return nil
	})
	fields := strings.Split(got, "-")
	if len(fields) != 4 {
		t.Fatalf("the request at %s has the traceparent %q", path, got)
	}
	return fields[1], fields[2]
}

func file(t *testing.T, port int, outside string) string {
	t.Helper()
	return system.Write(t, "switchback.yaml", fmt.Sprintf(`
listener:
  host: 127.0.0.1
  port: %d
  path: /done/{id}
  identify_by: ${path.id}

components:
  - {id: order, base_url: %[2]s, path: /order, body: {}}
  - {id: thank, base_url: %[2]s, path: /thank, body: {}}
  - {id: log, type: logger, message: thanked}

workflows:
  - id: sleeps
    jobs:
      - {id: ask, component: order}
      - {id: sleep, type: wait, wait_for: "${input.task}", depends_on: [ask]}
      - {id: thank, component: thank, depends_on: [sleep]}
  - id: pauses
    jobs:
      - {id: pause, type: delay, duration: 1ms}
      - {id: sub, type: workflow, workflow: thanks, depends_on: [pause]}
  - id: thanks
    jobs:
      - {id: thank, component: thank}
      - {id: say, component: log, depends_on: [thank]}
`, port, outside))
}

// ask asks for a run, as a part of the trace ask.
func ask(t *testing.T, c *system.Client, workflow, runID, input string) {
	t.Helper()
	m := nats.NewMsg("run.request." + workflow)
	m.Header["Switchback-Run-Id"], m.Header["Nats-Msg-Id"] = []string{runID}, []string{runID}
	m.Header["traceparent"] = []string{traceparent(askTrace, askSpan)}
	m.Data = []byte(input)
	if _, err := c.JS.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// parked waits until all requests are acknowledged: what they have set off waits. A callback before that would be taken by
// whoever parks, in the trace of the request.
func parked(t *testing.T, c *system.Client) {
	t.Helper()
	system.Eventually(t, "the run sleeps", func() error {
		s, err := c.JS.Stream(t.Context(), "RUNS")
		if err != nil {
			return err
		}
		if n := s.CachedInfo().State.Msgs; n != 0 {
			return fmt.Errorf("%d requests are being worked on", n)
		}
		return nil
	})
}

// callBack posts a callback, as a part of the trace call.
func callBack(t *testing.T, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"ok":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Traceparent", traceparent(callTrace, callSpan))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the callback is answered %s", resp.Status)
	}
}

// exporting are the variables of services that export. They would hold their spans back for an hour: what the collector
// gets is what they flush when they stop.
func exporting(endpoint string) []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint, "OTEL_BSP_SCHEDULE_DELAY=3600000", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip"}
}

// stop ends a service, which must have no reason to complain.
func stop(t *testing.T, services ...*system.Process) {
	t.Helper()
	for _, s := range services {
		if code := s.Stop(); code != 0 {
			t.Errorf("a service ends with %d:\n%s", code, s.Stderr())
		}
	}
}

// logged looks for the id of the trace in what the run's logger has written.
func logged(t *testing.T, runner *system.Process) {
	t.Helper()
	for line := range strings.Lines(runner.Stderr()) {
		if strings.Contains(line, "message=thanked") && strings.Contains(line, "trace_id="+askTrace) {
			return
		}
	}
	t.Errorf("the log does not name the trace:\n%s", runner.Stderr())
}

// only gives the one span of a name.
func only(t *testing.T, spans []trace.Span, name string) trace.Span {
	t.Helper()
	var found []trace.Span
	for _, s := range spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans are named %q among %+v", len(found), name, spans)
	}
	return found[0]
}

// like compares what tells a span's place.
func like(t *testing.T, s trace.Span, service string, kind tracepb.Span_SpanKind, parent string, attributes map[string]string) {
	t.Helper()
	var got map[string]string
	if attributes != nil {
		got = map[string]string{}
	}
	for name := range attributes {
		got[name] = s.Attributes[name]
	}
	if s.Service != service || s.Kind != kind || s.Parent != parent || s.Failed || !s.SDK || !s.ResourceHasVersion || s.Ended < s.Began {
		t.Errorf("span %q: %+v, want one of %s, %s, below %s", s.Name, s, service, kind, parent)
	}
	if d := cmp.Diff(attributes, got); d != "" {
		t.Errorf("attributes of %q (-want +got):\n%s", s.Name, d)
	}
}

func TestOneTraceFromTheCallbackToTheNextRequest(t *testing.T) {
	server1, out, port, collector := system.StartNATS(t), startOutside(t), system.FreePort(t), trace.StartCollector(t)
	c := system.Connect(t, server1.URL())
	compose := file(t, port, out.URL)
	listener := server1.Service("listener", compose, exporting(collector.URL)...).Ready()
	runner := server1.Service("runner", compose, exporting(collector.URL)...).Ready()

	ask(t, c, "sleeps", "r1", `{"task":"t1"}`)
	orderTrace, orderSpan := out.traceparent(t, "/order")
	parked(t, c)
	callBack(t, fmt.Sprintf("http://127.0.0.1:%d/done/t1", port))
	thankTrace, thankSpan := out.traceparent(t, "/thank")
	c.Await("r1", "completed")
	stop(t, listener, runner)

	// The run begins in the trace of the one who asked for it.
	if orderTrace != askTrace {
		t.Errorf("the first request is of trace %s, want %s", orderTrace, askTrace)
	}
	began := collector.Of(askTrace)
	first := only(t, began, "process run.request.{workflow}")
	like(t, first, "switchback-runner", consumer, askSpan, map[string]string{
		"switchback.run.id": "r1", "switchback.workflow": "sleeps", "messaging.system": "nats", "messaging.destination.name": "run.request.sleeps",
	})
	order := only(t, began, "POST")
	like(t, order, "switchback-runner", client, first.ID, map[string]string{"switchback.job": "ask", "url.full": out.URL + "/order", "switchback.run.id": "r1"})
	if order.ID != orderSpan {
		t.Errorf("the first request names span %s, want %s", orderSpan, order.ID)
	}

	// The callback goes on in the trace of the one who called: listener, NATS, runner, next request.
	if thankTrace != callTrace {
		t.Errorf("the request after the callback is of trace %s, want %s", thankTrace, callTrace)
	}
	resumed := collector.Of(callTrace)
	request := only(t, resumed, "POST /done/{id}")
	like(t, request, "switchback-listener", server, callSpan, map[string]string{
		"http.request.method": "POST", "http.route": "/done/{id}", "url.path": "/done/t1", "switchback.verdict": "accepted",
	})
	publish := only(t, resumed, "publish callback.{id}")
	like(t, publish, "switchback-listener", producer, request.ID, map[string]string{"switchback.callback.id": "t1", "messaging.system": "nats"})
	process := only(t, resumed, "process callback.{id}")
	like(t, process, "switchback-runner", consumer, publish.ID, map[string]string{
		"switchback.run.id": "r1", "switchback.workflow": "sleeps", "messaging.destination.name": "callback.t1",
	})
	thank := only(t, resumed, "POST")
	like(t, thank, "switchback-runner", client, process.ID, map[string]string{"switchback.job": "thank", "url.full": out.URL + "/thank"})
	if thank.ID != thankSpan {
		t.Errorf("the request after the callback names span %s, want %s", thankSpan, thank.ID)
	}
	if len(resumed) != 4 {
		t.Errorf("%d spans in the callback's trace, want 4: %+v", len(resumed), resumed)
	}
	// And is linked to the run's beginning.
	if d := cmp.Diff([]string{first.Trace + "-" + first.ID}, process.Links); d != "" {
		t.Errorf("links of the resumed run (-want +got):\n%s", d)
	}
}

func TestTimersAndRunsOfRunsStayInTheTrace(t *testing.T) {
	server1, out, collector := system.StartNATS(t), startOutside(t), trace.StartCollector(t)
	c := system.Connect(t, server1.URL())
	compose := file(t, system.FreePort(t), out.URL)
	runner := server1.Service("runner", compose, exporting(collector.URL)...).Ready()

	ask(t, c, "pauses", "r2", `{}`)
	thankTrace, thankSpan := out.traceparent(t, "/thank")
	c.Await("r2", "completed")
	stop(t, runner)
	logged(t, runner)

	spans := collector.Of(askTrace)
	timeout := only(t, spans, "process timeout.{id}")
	var asked, sub trace.Span
	for _, s := range spans {
		if s.Name != "process run.request.{workflow}" {
			continue
		}
		if s.Parent == askSpan {
			asked = s
		} else {
			sub = s
		}
	}
	like(t, timeout, "switchback-runner", consumer, asked.ID, map[string]string{"switchback.run.id": "r2"})
	start := only(t, spans, "publish run.request.{workflow}")
	like(t, start, "switchback-runner", producer, timeout.ID, nil)
	like(t, sub, "switchback-runner", consumer, start.ID, map[string]string{"switchback.workflow": "thanks"})
	request := only(t, spans, "POST")
	like(t, request, "switchback-runner", client, sub.ID, nil)
	if thankTrace != askTrace || thankSpan != request.ID {
		t.Errorf("the sub-run's request names %s-%s, want %s-%s", thankTrace, thankSpan, askTrace, request.ID)
	}
	end := only(t, spans, "publish callback.{id}")
	like(t, end, "switchback-runner", producer, sub.ID, nil)
	like(t, only(t, spans, "process callback.{id}"), "switchback-runner", consumer, end.ID, map[string]string{"switchback.run.id": "r2"})
}

// A string of OTLP is UTF-8, and one that is not would cost all spans that are exported together with it. What strangers send
// is in the spans: it must not take the others along.
func TestStrangersCannotSpoilWhatIsExported(t *testing.T) {
	server1, collector, port := system.StartNATS(t), trace.StartCollector(t), system.FreePort(t)
	compose := file(t, port, "http://127.0.0.1:1")
	c := system.Connect(t, server1.URL())
	listener := server1.Service("listener", compose, exporting(collector.URL)...).Ready()
	runner := server1.Service("runner", compose, exporting(collector.URL)...).Ready()

	callBack(t, fmt.Sprintf("http://127.0.0.1:%d/done/%%ff%%00", port))
	ask(t, c, "none", "\xfe", `{}`) // a run's id is free as well
	c.Await("=FE", "rejected")
	system.Eventually(t, "the callback is taken", func() error {
		consumer, err := c.JS.Consumer(t.Context(), "KV_waits", "runner")
		if err != nil {
			return err
		}
		if i := consumer.CachedInfo(); i.NumPending+uint64(i.NumAckPending) != 0 || i.Delivered.Consumer == 0 {
			return fmt.Errorf("%d pending", i.NumPending)
		}
		return nil
	})
	stop(t, listener, runner)
	spans := collector.Of(callTrace)
	if publish := only(t, spans, "publish callback.{id}"); publish.Attributes["switchback.callback.id"] != "\uFFFD\x00" {
		t.Errorf("the id is exported as %q", publish.Attributes["switchback.callback.id"])
	}
	only(t, spans, "POST /done/{id}")
	only(t, spans, "process callback.{id}")
	only(t, collector.Of(askTrace), "process run.request.{workflow}")
}

// Without a collector no span is made, and a traceparent that comes in is handed on as it is. The log has its id all the same.
func TestTracingIsOffUnlessAskedFor(t *testing.T) {
	server1, out := system.StartNATS(t), startOutside(t)
	c := system.Connect(t, server1.URL())
	runner := server1.Service("runner", file(t, system.FreePort(t), out.URL)).Ready()
	ask(t, c, "thanks", "r3", `{}`)
	if trace, span := out.traceparent(t, "/thank"); trace != askTrace || span != askSpan {
		t.Errorf("the request names %s-%s, want %s-%s", trace, span, askTrace, askSpan)
	}
	c.Await("r3", "completed")
	stop(t, runner)
	logged(t, runner)
}
