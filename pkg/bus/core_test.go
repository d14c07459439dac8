package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

func TestNotifyAndSubscribe(t *testing.T) {
	s := bustest.Start(t)
	b := s.Connect()
	got := make(chan string, 100)
	stop, err := b.Subscribe(t.Context(), "run.event.r.*", "", func(_ context.Context, n *bus.Note) {
		got <- n.Subject + " " + n.Header["H"] + " " + string(n.Data)
		if err := n.Respond([]byte("nobody asked")); err != nil {
			t.Errorf("respond: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	sender := s.Connect()
	for i := range 10 {
		if err := sender.Notify("run.event.r.started", bus.Header{"H": "v"}, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		if m := <-got; m != fmt.Sprintf("run.event.r.started v %d", i) {
			t.Errorf("got %q as number %d", m, i)
		}
	}
	stop()
	if err := b.Notify("run.event.r.started", nil, nil); err != nil {
		t.Fatal(err)
	}
	stop()
	if len(got) > 0 {
		t.Errorf("got %q after stop", <-got)
	}
}

func TestNotifyJSON(t *testing.T) {
	s := bustest.Start(t)
	b := s.Connect()
	got := make(chan string, 100)
	stop, err := b.Subscribe(t.Context(), "run.event.r.*", "", func(_ context.Context, n *bus.Note) { got <- string(n.Data) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	notice := func(size int) *event.Notice {
		return &event.Notice{Run: "r", Event: event.JobCompleted, Output: json.RawMessage(`"` + strings.Repeat("x", size) + `"`)}
	}
	if err := b.NotifyJSON("run.event.r.large", notice(b.Inline())); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("too large: %v", err)
	}
	if err := b.NotifyJSON("run.event.r.wrong", &event.Notice{Output: json.RawMessage(`{`)}); err == nil || fault.CodeOf(err) == fault.TooLarge {
		t.Errorf("what cannot be written: %v", err)
	}
	var want []string
	for i := range 50 { // each is written where the one before was
		n := notice(5000 - 100*i)
		data, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(data))
		if err := b.NotifyJSON("run.event.r.job_completed", n); err != nil {
			t.Fatal(err)
		}
	}
	for i := range want {
		if m := <-got; m != want[i] {
			t.Errorf("number %d is %s, want %s", i, m, want[i])
		}
	}
}

func TestStopWaitsForTheHandler(t *testing.T) {
	b := bustest.Start(t).Connect()
	entered, gate := make(chan struct{}), make(chan struct{})
	var left atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	stop, err := b.Subscribe(ctx, "x", "", func(context.Context, *bus.Note) {
		close(entered)
		<-gate
		left.Store(true)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Notify("x", nil, nil); err != nil {
		t.Fatal(err)
	}
	<-entered
	cancel()
	time.AfterFunc(50*time.Millisecond, func() { close(gate) })
	stop()
	if !left.Load() {
		t.Error("stop returned while the handler ran")
	}
}

func TestRequest(t *testing.T) {
	s := bustest.Start(t)
	b := s.Connect()
	_, err := b.Request(t.Context(), subject.RunCancel("r"), nil, nil)
	wantCode(t, err, fault.Unavailable)
	var asked atomic.Int32
	for range 2 { // one of the queue answers
		stop, err := s.Connect().Subscribe(t.Context(), subject.AllRunCommands, "runner", func(_ context.Context, n *bus.Note) {
			asked.Add(1)
			if err := n.Respond(append([]byte("cancelled "), n.Data...)); err != nil {
				t.Errorf("respond: %v", err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	for range 10 {
		a, err := b.Request(t.Context(), subject.RunCancel("r"), bus.Header{"H": "v"}, []byte("it"))
		if err != nil || string(a) != "cancelled it" {
			t.Errorf("got %q, %v", a, err)
		}
	}
	if asked.Load() != 10 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// TestRequestsThatAreNotAnsweredWell: a service's error, and one that takes longer than a publish may.
func TestRequestsThatAreNotAnsweredWell(t *testing.T) {
	s := bustest.Start(t)
	b, err := bus.Connect(t.Context(), bus.Options{URL: s.URL(), PublishTimeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close(context.Background()) }()
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	asked := make(chan *nats.Msg, 1)
	for subj, f := range map[string]nats.MsgHandler{
		"broken": func(m *nats.Msg) {
			answer := nats.NewMsg(m.Reply)
			answer.Header.Set("Nats-Service-Error-Code", "507")
			answer.Header.Set("Nats-Service-Error", "the disk is full")
			_ = m.RespondMsg(answer)
		},
		"slow": func(m *nats.Msg) { asked <- m },
	} {
		if _, err := nc.Subscribe(subj, f); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := b.Request(ctx, "broken", nil, nil); err == nil || !strings.Contains(err.Error(), "the service on broken answers 507: the disk is full") {
		t.Error(err)
	}
	if _, err := b.Request(t.Context(), "slow", nil, nil); !errors.Is(err, context.DeadlineExceeded) { // nobody has said how long
		t.Error(err)
	}
	<-asked
	done := make(chan error, 1)
	go func() {
		_, err := b.Request(ctx, "slow", nil, nil)
		done <- err
	}()
	m := <-asked
	time.AfterFunc(20*time.Millisecond, func() { _ = m.Respond(nil) }) // later than the publish timeout
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCallbackCodec(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	at := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	for name, want := range map[string]event.Callback{
		"full": {
			ID: "task/1 ü", Outcome: event.Failed, Result: []byte(`{"a":1}`), Error: "it broke", Endpoint: "/done",
			ReceivedAt: at, DeliveryID: "d1", Trace: "00-aa-bb-01",
		},
		"bare":     {ID: "r.j", Outcome: event.Succeeded},
		"progress": {ID: "r.k", Outcome: event.Progress, Result: []byte(`50`)},
	} {
		a, err := b.PublishCallback(t.Context(), &want)
		if err != nil {
			t.Fatal(err)
		}
		m := stored(t, b, subject.Callback(want.ID))
		if m.Header["Nats-TTL"] != "259200s" {
			t.Errorf("%s: kept for %q", name, m.Header["Nats-TTL"])
		}
		got, err := bus.DecodeCallback(m)
		if err != nil {
			t.Fatal(err)
		}
		want.Seq, want.StoredAt = a.Seq, m.Time
		if d := cmp.Diff(&want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestDecodeForeignCallbacks(t *testing.T) {
	for name, c := range map[string]struct {
		m    bus.Stored
		want string // result; "error" for none
	}{
		"json":           {bus.Stored{Subject: "callback.x", Data: []byte(` {"a": 1} `)}, ` {"a": 1} `},
		"text":           {bus.Stored{Subject: "callback.x", Data: []byte("it's done")}, `"it's done"`},
		"binary":         {bus.Stored{Subject: "callback.x", Data: []byte{0xff, 'a'}}, `"\ufffda"`},
		"empty":          {bus.Stored{Subject: "callback.x"}, ""},
		"outcome":        {bus.Stored{Subject: "callback.x", Header: bus.Header{subject.HeaderOutcome: "maybe"}}, "error"},
		"not a callback": {bus.Stored{Subject: "timeout.x"}, "error"},
		"not an id":      {bus.Stored{Subject: "callback.a*b"}, "error"},
		"received at":    {bus.Stored{Subject: "callback.x", Header: bus.Header{subject.HeaderReceivedAt: "yesterday"}, Data: []byte("1")}, "1"},
	} {
		cb, err := bus.DecodeCallback(&c.m)
		switch {
		case c.want == "error":
			if err == nil {
				t.Errorf("%s: %+v", name, cb)
			}
		case err != nil || string(cb.Result) != c.want || cb.ID != "x" || cb.Outcome != event.Succeeded:
			t.Errorf("%s: %+v, %v", name, cb, err)
		}
	}
}

func TestRunRequestCodec(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	want := event.RunRequest{RunID: "r1", Workflow: "a workflow", Input: []byte(`{"x":1}`), ReplyTo: "_INBOX.x", MsgID: "m1", Trace: "00-aa-bb-01"}
	a, err := b.PublishRunRequest(t.Context(), &want)
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.PublishRunRequest(t.Context(), &want)
	if err != nil || !again.Duplicate {
		t.Errorf("again: %+v, %v", again, err)
	}
	m, err := b.At(t.Context(), subject.StreamRuns, a.Seq)
	if err != nil {
		t.Fatal(err)
	}
	got, err := bus.DecodeRunRequest(m)
	if err != nil {
		t.Fatal(err)
	}
	want.Seq, want.RequestedAt = a.Seq, m.Time
	if d := cmp.Diff(&want, got); d != "" {
		t.Error(d)
	}
	if r, err := bus.DecodeRunRequest(&bus.Stored{Subject: "callback.x"}); err == nil {
		t.Errorf("not a request: %+v", r)
	}
}
