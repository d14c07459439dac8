package listener_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/listener"
)

const natsHooks = `
listener:
  host: 127.0.0.1
  port: 0
  callbacks:
    - path: /done
      identify_by: ${body.id}
      status: ${body.status}
      fail_when: [failed]
      dedupe_by: ${header.X-Delivery}
    - {path: /many, bulk: true, identify_by: "${item.id}"}
  triggers:
    - {path: /start, workflow: w, dedupe_by: "${header.X-Delivery}"}
workflow: {id: w, jobs: [{id: a, component: c}]}
component: {id: c, type: logger, message: hi}
`

// stored reads the callbacks for an id in their order.
func stored(t *testing.T, b *bus.Bus, id string) []*event.Callback {
	t.Helper()
	var all []*event.Callback
	for from := uint64(1); ; {
		m, err := b.Next(t.Context(), subject.StreamWaits, subject.Callback(id), from)
		if err != nil {
			return all
		}
		cb, err := bus.DecodeCallback(m)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, cb)
		from = m.Seq + 1
	}
}

func TestRealNATS(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	s := start(t, natsHooks, b, listener.Config{})
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if r := s.post("/done", `{"id":"a.b c/é","status":"failed","n":12345678901234567890}`, "Traceparent", trace); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	got := stored(t, b, "a.b c/é")
	if len(got) != 1 {
		t.Fatalf("%d callbacks", len(got))
	}
	want := &event.Callback{
		ID: "a.b c/é", Outcome: event.Failed, Result: []byte(`{"id":"a.b c/é","status":"failed","n":12345678901234567890}`),
		Error: `the callback says "failed"`, Endpoint: "/done", Trace: trace, ReceivedAt: got[0].ReceivedAt, Seq: got[0].Seq, StoredAt: got[0].StoredAt,
	}
	if d := cmp.Diff(want, got[0]); d != "" {
		t.Error(d)
	}
	if got[0].ReceivedAt.IsZero() {
		t.Error("no time of receipt")
	}
}

func TestTheSameDeliveryIsStoredOnce(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	s := start(t, natsHooks, b, listener.Config{})
	for i, want := range []string{
		`{"items":[{"id":"x","outcome":"succeeded","duplicate":false}]}`, `{"items":[{"id":"x","outcome":"succeeded","duplicate":true}]}`,
	} {
		if r := s.post("/done", `{"id":"x"}`, "X-Delivery", "d-1"); r.body != want {
			t.Errorf("delivery %d: %s", i, r.body)
		}
	}
	if r := s.post("/done", `{"id":"x"}`, "X-Delivery", "d-2"); r.status != 200 {
		t.Error(r.body)
	}
	if n := len(stored(t, b, "x")); n != 2 {
		t.Errorf("%d stored, want one a delivery", n)
	}
	first := s.post("/start", `{"n":1}`, "X-Delivery", "d-1")
	second := s.post("/start", `{"n":1}`, "X-Delivery", "d-1")
	if first.status != 202 || second.status != 202 || second.body != first.body {
		t.Errorf("%s, then %s", first.body, second.body)
	}
}

func TestRunRequestIsStored(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	s := start(t, natsHooks, b, listener.Config{})
	r := s.post("/start", `{"n":1.10}`)
	if r.status != 202 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	m, err := b.Last(t.Context(), subject.StreamRuns, subject.RunRequest("w"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := bus.DecodeRunRequest(m)
	if err != nil {
		t.Fatal(err)
	}
	if string(req.Input) != `{"n":1.10}` || r.body != `{"items":[{"run_id":"`+req.RunID+`"}]}` || req.MsgID != req.RunID {
		t.Errorf("%+v for %s", req, r.body)
	}
}

// TestNATSAway: while NATS is away the answer is 503 at once; when it is back, the same process takes callbacks again,
// and each that was answered 200 is stored.
func TestNATSAway(t *testing.T) {
	server := bustest.Start(t)
	server.Provisioned(bus.Layout{})
	// A publish that waited for its time would hold the test up for an hour.
	b := bustest.Connect(t, bus.Options{URL: server.URL(), PublishTimeout: time.Hour})
	s := start(t, natsHooks, b, listener.Config{})
	if r := s.post("/done", `{"id":"before"}`); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	server.Stop()
	for _, path := range []string{"/done", "/start"} {
		if r := s.post(path, `{"id":"meanwhile"}`); r.status != 503 || r.header.Get("Retry-After") == "" {
			t.Errorf("%s while NATS is away: %d %s", path, r.status, r.body)
		}
	}
	if r := s.post("/many", `[{"id":"m1"},{"id":"m2"}]`); r.status != 503 {
		t.Errorf("bulk while NATS is away: %d %s", r.status, r.body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := b.Ready(ctx); err == nil {
		t.Error("ready while NATS is away")
	}
	server.Start()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		if r := s.post("/done", `{"id":"after"}`); r.status == 200 {
			break
		} else if r.status != 503 {
			t.Fatalf("while NATS comes back: %d %s", r.status, r.body)
		}
		<-ticker.C
	}
	if len(stored(t, b, "before")) != 1 || len(stored(t, b, "after")) == 0 {
		t.Error("what was answered 200 is not stored")
	}
}

// TestTwoListenersAtOnce: the same callbacks come in at two listeners at the same moment. All are answered 200, all
// are stored, and of those with one delivery id one.
func TestTwoListenersAtOnce(t *testing.T) {
	server := bustest.Start(t)
	b := server.Provisioned(bus.Layout{})
	one := start(t, natsHooks, b, listener.Config{})
	two := start(t, natsHooks, server.Connect(), listener.Config{})
	c := client(t)
	const rounds = 50
	for i := range rounds {
		go2 := make(chan struct{})
		var both sync.WaitGroup
		duplicates := make([]bool, 2)
		for n, s := range []*service{one, two} {
			plain := newRequest(t, "POST", s.url("/done"), fmt.Sprintf(`{"id":"plain-%d"}`, i))
			once := newRequest(t, "POST", s.url("/done"), fmt.Sprintf(`{"id":"once-%d"}`, i), "X-Delivery", fmt.Sprint(i))
			both.Go(func() {
				<-go2
				for _, r := range []*http.Request{plain, once} {
					res, err := try(c, r)
					if err != nil || res.status != 200 {
						t.Errorf("round %d: %+v (%v)", i, res, err)
						return
					}
					duplicates[n] = res.body == fmt.Sprintf(`{"items":[{"id":"once-%d","outcome":"succeeded","duplicate":true}]}`, i)
				}
			})
		}
		close(go2)
		both.Wait()
		if duplicates[0] == duplicates[1] {
			t.Errorf("round %d: duplicates %v, want one", i, duplicates)
		}
		if n, m := len(stored(t, b, fmt.Sprintf("plain-%d", i))), len(stored(t, b, fmt.Sprintf("once-%d", i))); n != 2 || m != 1 {
			t.Errorf("round %d: %d plain and %d once stored", i, n, m)
		}
	}
}
