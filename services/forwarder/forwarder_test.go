package forwarder_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/forwarder"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sides are the listener's and the runners'.
type sides struct {
	t           *testing.T
	edgeServer  *bustest.Server
	edge, inner *bus.Bus
	patience    time.Duration // of the forwarder with the edge; 0: as usual
}

func start(t *testing.T) *sides {
	t.Helper()
	s := &sides{t: t, edgeServer: bustest.Start(t)}
	s.edge = s.edgeServer.Provisioned(bus.Layout{Edge: true})
	// The server forgets ids at once, as it does after two minutes: what is not doubled is so for another reason.
	s.inner = bustest.Start(t).Provisioned(bus.Layout{DedupeWindow: 100 * time.Millisecond})
	return s
}

// forward runs a forwarder until what the edge holds has gone over.
func (s *sides) forward() {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	f := forwarder.New(forwarder.Deps{Bus: s.inner, Edge: bus.Options{URL: s.edgeServer.URL(), PublishTimeout: s.patience}})
	go func() { ended <- f.Run(ctx) }()
	<-f.Ready()
	bustest.Eventually(s.t, "nothing is held", func() bool {
		_, err := s.edge.Next(s.t.Context(), subject.StreamEdge, ">", 1)
		return errors.Is(err, bus.ErrNotFound)
	})
	stop()
	if err := <-ended; err != nil {
		s.t.Errorf("the forwarder ends with %v", err)
	}
}

func (s *sides) publish(cb event.Callback) uint64 {
	s.t.Helper()
	a, err := s.edge.PublishCallback(s.t.Context(), &cb)
	if err != nil {
		s.t.Fatal(err)
	}
	return a.Seq
}

// arrived are the results for an id, in their order.
func (s *sides) arrived(id string) (all []event.Callback) {
	s.t.Helper()
	for from := uint64(1); ; {
		m, err := s.inner.Next(s.t.Context(), subject.StreamWaits, subject.Callback(id), from)
		if errors.Is(err, bus.ErrNotFound) {
			return all
		}
		if err != nil {
			s.t.Fatal(err)
		}
		cb, err := bus.DecodeCallback(m)
		if err != nil {
			s.t.Fatal(err)
		}
		all, from = append(all, *cb), m.Seq+1
	}
}

func TestCallbacksGoOverAsTheyAre(t *testing.T) {
	s := start(t)
	at := time.Now().Add(-time.Hour).UTC()
	s.publish(event.Callback{
		ID: "a/b c", Outcome: event.Failed, Result: json.RawMessage(`{"n":1}`), Error: "no", Endpoint: "/done", DeliveryID: "d1", ReceivedAt: at,
		Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	})
	s.forward()
	got := s.arrived("a/b c")
	if len(got) != 1 {
		t.Fatalf("%d callbacks", len(got))
	}
	cb := got[0]
	if cb.Outcome != event.Failed || string(cb.Result) != `{"n":1}` || cb.Error != "no" || cb.Endpoint != "/done" || cb.DeliveryID != "d1" || !cb.ReceivedAt.Equal(at) || cb.Trace == "" {
		t.Errorf("%+v", cb)
	}
}

// Those of one id keep their order, though many go over at once.
func TestOrder(t *testing.T) {
	s := start(t)
	const n = 100
	for i := range n {
		s.publish(event.Callback{ID: "one", Result: fmt.Appendf(nil, "%d", i)})
		s.publish(event.Callback{ID: fmt.Sprintf("other-%d", i), Result: json.RawMessage("0")})
	}
	s.forward()
	got := s.arrived("one")
	if len(got) != n {
		t.Fatalf("%d callbacks, want %d", len(got), n)
	}
	for i, cb := range got {
		if string(cb.Result) != fmt.Sprint(i) {
			t.Fatalf("number %d is %s", i, cb.Result)
		}
	}
}

// A forwarder dies between the publish and the acknowledgement, and the message comes again long after.
func TestDeliveredAgain(t *testing.T) {
	s := start(t)
	s.publish(event.Callback{ID: "x", Result: json.RawMessage("1"), DeliveryID: "d1"})
	ctx, stop := context.WithCancel(t.Context())
	err := s.edge.Consume(ctx, bus.ConsumeOptions{Stream: subject.StreamEdge, Consumer: subject.ConsumerForwarder}, func(_ context.Context, d *bus.Delivery) {
		cb, err := bus.DecodeCallback(&d.Stored)
		if err == nil {
			_, err = s.inner.PublishCallback(t.Context(), cb)
		}
		if err != nil {
			t.Error(err)
		}
		stop() // and the message goes back
	})
	if err != nil {
		t.Fatal(err)
	}
	// Others publish on that id as well, so that it is not the last; and the server has forgotten it.
	for i := range 150 {
		if _, err := s.inner.PublishCallback(t.Context(), &event.Callback{ID: "x", Result: json.RawMessage("2"), DeliveryID: fmt.Sprintf("o%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	bustest.Eventually(t, "the server has forgotten the id", func() bool {
		a, err := s.inner.PublishCallback(t.Context(), &event.Callback{ID: "probe", DeliveryID: "d1"})
		return err == nil && !a.Duplicate
	})
	s.forward()
	if got := s.arrived("x"); len(got) != 151 {
		t.Errorf("%d callbacks, want 151: it was published again", len(got))
	}
}

// A request keeps what a listener sets, and nothing that would make it more than a request.
func TestRequests(t *testing.T) {
	s := start(t)
	in := event.RunRequest{
		Workflow: "w", RunID: "r1", Input: json.RawMessage(`{"n":1}`), MsgID: "m1", ReplyTo: "somewhere", Parent: "p", Definition: "d", Retry: true,
	}
	if _, err := s.edge.PublishRunRequest(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	s.forward()
	m, err := s.inner.Last(t.Context(), subject.StreamRuns, subject.RunRequest("w"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := bus.DecodeRunRequest(m)
	if err != nil || out.RunID != "r1" || string(out.Input) != `{"n":1}` || out.MsgID != "m1" || out.ReplyTo+out.Parent+out.Definition != "" || out.Retry {
		t.Errorf("%+v, %v", out, err)
	}
}

// What is no callback goes to the dead, with the reason, and nothing waits behind it.
func TestWhatIsNoCallback(t *testing.T) {
	s := start(t)
	if _, err := s.edge.Publish(t.Context(), &bus.Message{Subject: "callback.x", Header: bus.Header{subject.HeaderOutcome: "odd"}}); err != nil {
		t.Fatal(err)
	}
	s.publish(event.Callback{ID: "x", Result: json.RawMessage("1")})
	s.forward()
	if got := s.arrived("x"); len(got) != 1 {
		t.Errorf("%d callbacks", len(got))
	}
	m, err := s.inner.Next(t.Context(), subject.StreamDead, subject.AllDead, 1)
	if err != nil || m.Header[subject.HeaderReason] == "" {
		t.Errorf("%+v, %v", m, err)
	}
}

// The other side is away for a while: what it holds waits, and the forwarder looks for it again.
func TestTheOtherSideComesBack(t *testing.T) {
	s := start(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	f := forwarder.New(forwarder.Deps{Bus: s.inner, Edge: bus.Options{URL: s.edgeServer.URL()}})
	go func() { ended <- f.Run(ctx) }()
	<-f.Ready()
	s.edgeServer.Restart()
	bustest.Eventually(t, "the edge takes callbacks again", func() bool {
		_, err := s.edge.PublishCallback(t.Context(), &event.Callback{ID: "x", DeliveryID: "d"})
		return err == nil
	})
	bustest.Eventually(t, "it has gone over", func() bool { return len(s.arrived("x")) == 1 })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestAPayloadThatHasGone: what refers to it is given up in the end, and does not hold up what comes behind it.
func TestAPayloadThatHasGone(t *testing.T) {
	s := start(t)
	s.patience = 200 * time.Millisecond
	for _, subj := range []string{subject.Callback("one"), subject.RunRequest("work")} {
		m := bus.Message{Subject: subj, Header: bus.Header{subject.HeaderObject: "gone", subject.HeaderRunID: "r"}}
		if _, err := s.edge.Publish(t.Context(), &m); err != nil {
			t.Fatal(err)
		}
	}
	s.publish(event.Callback{ID: "one", Result: json.RawMessage("2")})
	s.forward()
	if got := s.arrived("one"); len(got) != 1 || string(got[0].Result) != "2" {
		t.Errorf("%+v", got)
	}
	if many, err := s.inner.NextMany(t.Context(), subject.StreamDead, subject.AllDead, 1, 10); err != nil || len(many) != 2 {
		t.Errorf("given up: %d, %v", len(many), err)
	}
}
