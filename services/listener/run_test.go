package listener_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener"
)

// holding is a Publisher that holds every callback until it is released.
func holding() (f *fake, arrived chan string, release chan struct{}) {
	arrived, release = make(chan string, 100), make(chan struct{})
	f = &fake{publish: func(ctx context.Context, cb *event.Callback) (bus.Ack, error) {
		arrived <- cb.ID
		select {
		case <-release:
			return bus.Ack{}, nil
		case <-ctx.Done():
			return bus.Ack{}, ctx.Err()
		}
	}}
	return f, arrived, release
}

// background sends a request and gives its answer later.
func (s *service) background(id string) <-chan *response {
	answers := make(chan *response, 1)
	c, r := client(s.t), newRequest(s.t, "POST", s.url("/done"), `{"task_id":"`+id+`","status":"completed"}`)
	go func() {
		res, err := try(c, r)
		if err != nil {
			res = &response{body: err.Error()}
		}
		answers <- res
	}()
	return answers
}

func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	f, arrived, release := holding()
	s := start(t, hooks, f, listener.Config{ShutdownTimeout: time.Minute})
	idle := s.raw()
	if r := s.exchange(idle, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"); r.status != 404 {
		t.Fatal(r)
	}
	unused := s.raw()
	answer := s.background("a")
	<-arrived
	s.cancel()
	for name, c := range map[string]net.Conn{"idle": idle, "unused": unused} {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // net.Conn gives it bare
			t.Errorf("%s connection: %v, want its end", name, err)
		}
	}
	var d net.Dialer
	if c, err := d.DialContext(t.Context(), "tcp", s.l.Addresses()[0].Addr); err == nil {
		_ = c.Close()
		t.Error("a new connection is taken")
	}
	select {
	case <-s.done:
		t.Fatal("Run has returned with a request in flight")
	case r := <-answer:
		t.Fatalf("answered without an acknowledgement: %+v", r)
	default:
	}
	close(release)
	if r := <-answer; r.status != 200 || !r.last {
		t.Errorf("%+v", r)
	}
	<-s.done
	if len(f.stored()) != 1 {
		t.Errorf("%d stored", len(f.stored()))
	}
}

func TestShutdownIsBounded(t *testing.T) {
	f, arrived, _ := holding()
	s := start(t, hooks, f, listener.Config{ShutdownTimeout: 50 * time.Millisecond})
	answer := s.background("a")
	<-arrived
	half := s.raw()
	if _, err := io.WriteString(half, "POST /hooks/done HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	s.cancel()
	if r := <-answer; r.status != 503 {
		t.Errorf("%+v", r)
	}
	<-s.done
}

const limited = `
listener:
  host: 127.0.0.1
  port: 0
  max_concurrent_count: 1
  path: /done
  identify_by: ${body.task_id}
`

func TestConcurrencyIsBounded(t *testing.T) {
	f, arrived, release := holding()
	s := start(t, limited, f, listener.Config{QueueLength: 1, QueueTimeout: time.Minute})
	first := s.background("first")
	<-arrived
	second := s.background("second")
	s.await("switchback_listener_queued_requests", is(1))
	third := s.post("/done", `{"task_id":"third"}`)
	if third.status != 503 || third.header.Get("Retry-After") == "" || third.problem(t)["code"] != "unavailable" {
		t.Errorf("%+v", third)
	}
	if r := s.post("/nowhere", `{}`); r.status != 404 {
		t.Errorf("what is not for an endpoint waits: %d", r.status)
	}
	close(release)
	if a, b := <-first, <-second; a.status != 200 || b.status != 200 {
		t.Errorf("%+v %+v", a, b)
	}
	if id := <-arrived; id != "second" {
		t.Errorf("%s was handled", id)
	}
}

func TestQueueIsBoundedInTime(t *testing.T) {
	f, arrived, release := holding()
	s := start(t, limited, f, listener.Config{QueueTimeout: 20 * time.Millisecond})
	first := s.background("first")
	<-arrived
	if r := s.post("/done", `{"task_id":"second"}`); r.status != 503 {
		t.Errorf("%+v", r)
	}
	close(release)
	<-first
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		enter, leave := listener.NewGate(2, 1, 5*time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			if err := enter(ctx); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := enter(ctx); err == nil || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %v, want an error after 5s", err, time.Since(began))
		}
		leave()
		if err := enter(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		if err := enter(ctx); err == nil {
			t.Error("entered after the end")
		}
	})
}

// TestSlowClients: who sends his request a byte at a time, or none at all, does not hold a connection for ever.
func TestSlowClients(t *testing.T) {
	s := start(t, strings.Replace(hooks, "port: 0", "port: 0\n  read_timeout: 60ms", 1), &fake{}, listener.Config{HeaderTimeout: 30 * time.Millisecond, IdleTimeout: 30 * time.Millisecond})
	for name, text := range map[string]string{
		"header": "POST /hooks/done HTTP/1.1\r\nHost: x\r\nX-",
		"body":   "POST /hooks/done HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
	} {
		c := s.raw()
		if r := s.exchange(c, text); r.status != 408 || r.problem(t)["hint"] == nil {
			t.Errorf("%s: %+v", name, r)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: the connection goes on", name)
		}
		_ = c.Close()
	}
	c := s.raw()
	s.exchange(c, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := c.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // net.Conn gives it bare
		t.Errorf("an idle connection: %v", err)
	}
}

func TestTakenPort(t *testing.T) {
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	l, err := listener.New(listener.Config{}, listener.Deps{Bus: &fake{}, Document: document(t, fmt.Sprintf(`
listeners:
  - {id: one, host: 127.0.0.1, port: 0, path: /a}
  - {id: two, host: 127.0.0.1, port: %d, path: /a}
`, port))})
	if err != nil {
		t.Fatal(err)
	}
	err = l.Run(t.Context())
	if fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), fmt.Sprint(port)) || !strings.Contains(fault.HintOf(err), "port") {
		t.Errorf("%v (%s)", err, fault.HintOf(err))
	}
}

func TestWhatCannotBeServedIsRefused(t *testing.T) {
	tests := []struct {
		name, yaml string
		config     listener.Config
		want       string
	}{
		{"unset secret", `listener: {path: /a, verify: {type: github, secret: "${env.GITHUB_SECRET}"}}`, listener.Config{}, "GITHUB_SECRET"},
		{"unset old secret", `listener: {path: /a, verify: {type: github, secrets: [s, "${env.OLD_SECRET}"]}}`, listener.Config{}, "OLD_SECRET"},
		{"unset option", `listener: {path: /a, verify: {type: meta, secret: s, verify_token: "${env.META_TOKEN}"}}`, listener.Config{}, "META_TOKEN"},
		{"handshake that signs", `listener: {path: /a, handshake: zoom}`, listener.Config{}, "zoom"},
		{"no listener", `component: {id: c, type: logger, message: x}`, listener.Config{}, "no listener"},
		{"unknown id", `listener: {id: a, path: /a}`, listener.Config{Listeners: []string{"b"}}, "b"},
		{"negative timeout", `listener: {path: /a}`, listener.Config{QueueTimeout: -1, IdleTimeout: -1}, "idle_timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := listener.New(tt.config, listener.Deps{Bus: &fake{}, Document: document(t, tt.yaml)})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestOnlySomeListeners(t *testing.T) {
	s := start(t, `
listeners:
  - {id: one, host: 127.0.0.1, port: 0, path: /a}
  - {id: two, host: 127.0.0.1, port: 0, path: /a}
`, &fake{}, listener.Config{Listeners: []string{"two"}})
	if len(s.urls) != 1 || s.urls["two"] == "" {
		t.Errorf("serves %v", s.urls)
	}
}

func TestMetrics(t *testing.T) {
	f := &fake{publish: func(_ context.Context, cb *event.Callback) (bus.Ack, error) {
		if cb.ID == "away" {
			return bus.Ack{}, fault.New(fault.Unavailable, "away", "")
		}
		return bus.Ack{}, nil
	}}
	s := start(t, hooks, f, listener.Config{})
	for _, body := range []string{`{"task_id":"a","status":"completed"}`, `{"task_id":"a"}`, `{"task_id":"away"}`, `{}`, `{`} {
		s.post("/done", body)
	}
	s.post("/many", `{"results":[{"id":1},{}]}`)
	s.post("/events", `{"type":"ping"}`)
	s.post("/nowhere", ``)
	for name, want := range map[string]float64{
		`requests_total{endpoint="/hooks/done",verdict="accepted"}`:      1,
		`requests_total{endpoint="/hooks/done",verdict="progress"}`:      1,
		`requests_total{endpoint="/hooks/done",verdict="unavailable"}`:   1,
		`requests_total{endpoint="/hooks/done",verdict="unprocessable"}`: 1,
		`requests_total{endpoint="/hooks/done",verdict="invalid"}`:       1,
		`requests_total{endpoint="/hooks/many",verdict="partial"}`:       1,
		`requests_total{endpoint="/hooks/events",verdict="ignored"}`:     1,
		`requests_total{endpoint="",verdict="not_found"}`:                1,
		`items_total{endpoint="/hooks/done",outcome="succeeded"}`:        1,
		`publish_seconds{}`:    4,
		`body_bytes_total{}`:   float64(36 + 15 + 18 + 2 + 1 + 25 + 15),
		`in_flight_requests{}`: 0,
		`queued_requests{}`:    0,
	} {
		if got := s.metric("switchback_listener_" + name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// metric gives the value of name{label="value",…}; labels that are not named do not matter.
func (s *service) metric(query string) float64 {
	s.t.Helper()
	name, labels, _ := strings.Cut(strings.TrimSuffix(query, "}"), "{")
	families, err := s.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			if labels == "" || !slices.ContainsFunc(strings.Split(labels, ","), func(l string) bool { return !slices.Contains(have, l) }) {
				if h := m.GetHistogram(); h != nil {
					return float64(h.GetSampleCount())
				}
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

// is and atLeast say what a metric is waited to be.
func is(want float64) func(float64) bool { return func(v float64) bool { return v == want } }

func atLeast(want float64) func(float64) bool { return func(v float64) bool { return v >= want } }

// await waits until a metric has a value.
func (s *service) await(query string, want func(float64) bool) {
	s.t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for !want(s.metric(query)) {
		select {
		case <-ticker.C:
		case <-deadline:
			s.t.Fatalf("%s is still %v", query, s.metric(query))
		}
	}
}

func TestOneRegistryForOneService(t *testing.T) {
	reg := prometheus.NewRegistry()
	d := listener.Deps{Bus: &fake{}, Document: document(t, hooks), Registry: reg}
	if _, err := listener.New(listener.Config{}, d); err != nil {
		t.Fatal(err)
	}
	if _, err := listener.New(listener.Config{}, d); err == nil {
		t.Error("two services count in one registry")
	}
}

// TestManyAtOnce mixes good and bad requests over few connections; each gets its own answer.
func TestManyAtOnce(t *testing.T) {
	f := &fake{}
	s := start(t, hooks, f, listener.Config{})
	c := client(t)
	var senders sync.WaitGroup
	for i := range 16 {
		senders.Go(func() {
			for n := range 50 {
				id := fmt.Sprintf("%d-%d", i, n)
				body, want := `{"task_id":"`+id+`","status":"completed","result":{"pad":"`+strings.Repeat("x", n*7)+`"}}`, http.StatusOK
				if n%5 == 0 {
					body, want = body[:len(body)-1], http.StatusBadRequest
				}
				r, err := try(c, newRequest(t, "POST", s.url("/done"), body))
				if err != nil || r.status != want || want == 200 && !strings.Contains(r.body, `"`+id+`"`) {
					t.Errorf("%s: %+v (%v)", id, r, err)
				}
			}
		})
	}
	senders.Wait()
	seen := map[string]bool{}
	for _, cb := range f.stored() {
		var n int
		if _, err := fmt.Sscanf(cb.ID[strings.IndexByte(cb.ID, '-')+1:], "%d", &n); err != nil {
			t.Fatal(err)
		}
		if string(cb.Result) != `{"pad":"`+strings.Repeat("x", n*7)+`"}` || seen[cb.ID] {
			t.Errorf("%s: %s", cb.ID, cb.Result)
		}
		seen[cb.ID] = true
	}
	if len(seen) != 16*40 {
		t.Errorf("%d stored", len(seen))
	}
}

// A provider that calls an address which is not there leaves no record, so the log tells of it, though not each time.
func TestStraysAreTold(t *testing.T) {
	s := start(t, hooks, &fake{}, listener.Config{})
	const strays = 20
	for range strays {
		s.post("/nowhere", `{}`)
	}
	told := 0
	for line := range strings.Lines(s.logs.String()) {
		if strings.Contains(line, `"level":"INFO","msg":"request"`) && strings.Contains(line, `"path":"/hooks/nowhere","status":404`) {
			told++
		}
	}
	if told == 0 || told == strays {
		t.Errorf("%d of %d are told:\n%s", told, strays, s.logs)
	}
}
