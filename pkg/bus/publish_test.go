package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

func TestPublish(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, _ string) {
		t.Helper()
		ctx := t.Context()
		m := &bus.Message{Subject: "callback.a", Data: []byte("1"), Header: bus.Header{"X-Case": "kept", "x-case": "too"}, MsgID: "one", TTL: time.Hour}
		first := publish(t, b, m)
		if first.Seq == 0 || first.Duplicate {
			t.Errorf("first: %+v", first)
		}
		if again := publish(t, b, m); again != (bus.Ack{Seq: first.Seq, Duplicate: true}) {
			t.Errorf("the same MsgID again: %+v, want a duplicate of %d", again, first.Seq)
		}
		s := stored(t, b, "callback.a")
		want := bus.Header{"X-Case": "kept", "x-case": "too", "Nats-Msg-Id": "one", "Nats-TTL": "3600s"}
		if d := cmp.Diff(want, s.Header); d != "" || string(s.Data) != "1" || s.Seq != first.Seq || time.Since(s.Time) > time.Hour {
			t.Errorf("stored %+v\n%s", s, d)
		}

		// Expectations: of the subject itself, and of another.
		_, err := b.Publish(ctx, &bus.Message{Subject: "callback.a", Expect: &bus.Expect{}})
		if !errors.Is(err, bus.ErrConflict) {
			t.Errorf("expecting none where there is one: %v", err)
		}
		wantCode(t, err, fault.Conflict)
		second := publish(t, b, &bus.Message{Subject: "callback.a", Expect: &bus.Expect{Seq: first.Seq}})
		if _, err := b.Publish(ctx, &bus.Message{Subject: subject.Wait("a"), Expect: &bus.Expect{Subject: "callback.a", Seq: first.Seq}}); !errors.Is(err, bus.ErrConflict) {
			t.Errorf("expecting the one before on another subject: %v", err)
		}
		publish(t, b, &bus.Message{Subject: subject.Wait("a"), Expect: &bus.Expect{Subject: "callback.a", Seq: second.Seq}})

		_, err = b.Publish(ctx, &bus.Message{Subject: "callback.a", Data: bytes.Repeat([]byte("x"), 2<<20)})
		wantCode(t, err, fault.TooLarge)
		_, err = b.Publish(ctx, &bus.Message{Subject: "callback. a"})
		wantCode(t, err, fault.Invalid)
		_, err = b.Publish(ctx, &bus.Message{Subject: "callback.a", Header: bus.Header{"a:b": ""}})
		wantCode(t, err, fault.Invalid)
		_, err = b.Publish(ctx, &bus.Message{Subject: "nobody.takes.this"})
		wantCode(t, err, fault.Unavailable)
		if !strings.Contains(fault.HintOf(err), "provision") {
			t.Errorf("hint %q", fault.HintOf(err))
		}
		if s := stored(t, b, "callback.a"); s.Seq != second.Seq {
			t.Errorf("last is %d, want %d: a refused publish was stored", s.Seq, second.Seq)
		}
	})
}

// One of many wins a key; the others are told so definitely, also while the winner's write is under way.
func TestPublishConflictIsDefinite(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, _ string) {
		t.Helper()
		for round := range 50 {
			var won, lost atomic.Int32
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					_, err := b.Publish(t.Context(), &bus.Message{Subject: subject.Wait(fmt.Sprint(round)), Expect: &bus.Expect{}})
					switch {
					case err == nil:
						won.Add(1)
					case errors.Is(err, bus.ErrConflict):
						lost.Add(1)
					default:
						t.Errorf("round %d: %v", round, err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 || lost.Load() != 7 {
				t.Fatalf("round %d: %d won, %d lost", round, won.Load(), lost.Load())
			}
		}
	})
}

// The same MsgID from several publishers at once is stored once.
func TestPublishDuplicatesAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, _ string) {
		t.Helper()
		for round := range 30 {
			var fresh atomic.Int32
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() {
					a, err := b.Publish(t.Context(), &bus.Message{Subject: "callback.dup", MsgID: fmt.Sprint(round)})
					if err != nil {
						t.Errorf("round %d: %v", round, err)
					} else if !a.Duplicate {
						fresh.Add(1)
					}
				})
			}
			wg.Wait()
			if fresh.Load() != 1 {
				t.Fatalf("round %d: stored %d times", round, fresh.Load())
			}
		}
	})
}

// An answer that comes too late, twice, or is no answer does not reach another publish.
func TestPublishStrangeAnswers(t *testing.T) {
	s := bustest.Start(t)
	s.Provisioned(bus.Layout{})
	b := bustest.Connect(t, bus.Options{URL: s.URL(), PublishTimeout: patience, MaxPending: 1})
	nc, _ := foreign(t, s.URL())
	replies := make(chan string, 10)
	for subj, answers := range map[string][]string{
		"odd.silent": nil,
		"odd.twice":  {`{"stream":"S","seq":7}`, `{"stream":"S","seq":8}`, `{"stream":"S","seq":9}`},
		"odd.noise":  {`what?`},
		"odd.half":   {`{"stream":"S"}`},
		"odd.error":  {`{"error":{"code":503,"err_code":10077,"description":"disk full"},"stream":"S","seq":0}`},
	} {
		if _, err := nc.Subscribe(subj, func(m *nats.Msg) {
			if answers == nil {
				replies <- m.Reply
			}
			for _, a := range answers {
				_ = m.Respond([]byte(a))
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for subj, ok := range map[string]bool{"odd.silent": false, "odd.twice": true, "odd.noise": false, "odd.half": false, "odd.error": false} {
			ctx, cancel := t.Context(), func() {}
			if subj == "odd.silent" {
				ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
			}
			a, err := b.Publish(ctx, &bus.Message{Subject: subj})
			cancel()
			if ok != (err == nil) || ok && a.Seq != 7 {
				t.Errorf("%s: %+v, %v", subj, a, err)
			}
			if !ok && subj != "odd.silent" {
				wantCode(t, err, fault.Unavailable)
			}
			if subj == "odd.silent" {
				if err := nc.Publish(<-replies, []byte(`{"stream":"S","seq":5}`)); err != nil { // late
					t.Fatal(err)
				}
			}
			if a := publish(t, b, &bus.Message{Subject: "callback.x"}); a.Duplicate {
				t.Errorf("after %s: %+v", subj, a)
			} else if got := stored(t, b, "callback.x"); got.Seq != a.Seq {
				t.Errorf("after %s: the answer says %d, stored is %d: another message's answer", subj, a.Seq, got.Seq)
			}
		}
	}
}

func TestPublishGivesUpWithItsContext(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{})
	nc, _ := foreign(t, s.URL())
	if _, err := nc.Subscribe("odd.silent", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	hasty := bustest.Connect(t, bus.Options{URL: s.URL(), PublishTimeout: 30 * time.Millisecond})
	_, err := hasty.Publish(t.Context(), &bus.Message{Subject: "odd.silent"})
	wantCode(t, err, fault.Unavailable)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := b.Publish(ctx, &bus.Message{Subject: "odd.silent"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	if _, err := b.Publish(cancelled, &bus.Message{Subject: "odd.silent"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// While NATS is away a publish fails at once and clearly; when it is back all goes on, and what was acknowledged is there.
func TestPublishWhileNATSIsAway(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{})
	before := publish(t, b, &bus.Message{Subject: "callback.before"})
	if err := b.Ready(t.Context()); err != nil {
		t.Fatalf("ready: %v", err)
	}
	s.Stop()
	eventually(t, "the loss is noticed", func() bool { return !b.Connected() })
	for range 3 {
		_, err := b.Publish(t.Context(), &bus.Message{Subject: "callback.during"})
		wantCode(t, err, fault.Unavailable)
		if fault.HintOf(err) == "" || !strings.Contains(err.Error(), "not connected to NATS") { // it has waited for nothing
			t.Errorf("%v (%s)", err, fault.HintOf(err))
		}
	}
	wantCode(t, b.Ready(t.Context()), fault.Unavailable)
	_, err := b.Last(t.Context(), subject.StreamWaits, "callback.before")
	wantCode(t, err, fault.Unavailable)
	wantCode(t, b.Notify("run.event.x.y", nil, nil), fault.Unavailable)
	s.Start()
	upAgain(t, b)
	publish(t, b, &bus.Message{Subject: "callback.after"})
	if m := stored(t, b, "callback.before"); m == nil || m.Seq != before.Seq {
		t.Errorf("before: %+v", m)
	}
	if m := stored(t, b, "callback.during"); m != nil {
		t.Errorf("a publish that failed while disconnected was stored: %+v", m)
	}
}

// A connection that breaks between the message and its answer: the publish is told, and its retry by MsgID is recognised.
func TestPublishLosesItsConnection(t *testing.T) {
	s := bustest.Start(t)
	s.Provisioned(bus.Layout{})
	p := newProxy(t, s.URL())
	b := bustest.Connect(t, bus.Options{URL: p.url(), Name: "through the proxy", PublishTimeout: time.Hour})
	publish(t, b, &bus.Message{Subject: "callback.warm"})
	p.holdAnswers()
	done := make(chan error)
	go func() {
		_, err := b.Publish(context.Background(), &bus.Message{Subject: "callback.lost", MsgID: "lost"})
		done <- err
	}()
	direct := s.Connect()
	eventually(t, "the message is stored", func() bool { return stored(t, direct, "callback.lost") != nil })
	p.cut()
	err := <-done
	wantCode(t, err, fault.Unavailable)
	upAgain(t, b)
	if a := publish(t, b, &bus.Message{Subject: "callback.lost", MsgID: "lost"}); !a.Duplicate {
		t.Errorf("publishing again: %+v, want a duplicate", a)
	}
}

func TestPublishForbidden(t *testing.T) {
	s := bustest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "all", Password: "p"},
			{Username: "little", Password: "p", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"callback.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_L.>"}},
			}},
		}
	})
	at := func(user string) string { return strings.Replace(s.URL(), "nats://", "nats://"+user+":p@", 1) }
	if err := bustest.Connect(t, bus.Options{URL: at("all")}).Provision(t.Context(), bus.Layout{}); err != nil {
		t.Fatal(err)
	}
	b := bustest.Connect(t, bus.Options{URL: at("little"), Login: bus.Login{InboxPrefix: "_INBOX_L"}, Probe: []string{"callback.probe"}, PublishTimeout: time.Second})
	if err := b.Ready(t.Context()); err != nil {
		t.Errorf("ready with no more permissions than needed: %v", err)
	}
	publish(t, b, &bus.Message{Subject: "callback.x"})
	_, err := b.Publish(t.Context(), &bus.Message{Subject: "run.request.x"})
	wantCode(t, err, fault.Forbidden)
	_, err = bus.Connect(t.Context(), bus.Options{URL: at("nobody")})
	wantCode(t, err, fault.Unauthorized)
}

func TestConnectFails(t *testing.T) {
	for name, limit := range map[string]time.Duration{"once": 0, "until its time is over": 500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			_, err := bus.Connect(ctx, bus.Options{URL: "nats://127.0.0.1:1"})
			wantCode(t, err, fault.Unavailable)
			if fault.HintOf(err) == "" || !strings.Contains(err.Error(), "127.0.0.1:1") {
				t.Errorf("error %q, hint %q", err, fault.HintOf(err))
			}
		})
	}
}

// More publishers than slots wait for each other; none is forgotten.
func TestPublishManyAtOnce(t *testing.T) {
	s := bustest.Start(t)
	s.Provisioned(bus.Layout{})
	b := bustest.Connect(t, bus.Options{URL: s.URL(), MaxPending: 8})
	var wg sync.WaitGroup
	var seqs sync.Map
	for i := range 64 {
		wg.Go(func() {
			for j := range 50 {
				a, err := b.Publish(t.Context(), &bus.Message{Subject: fmt.Sprintf("callback.%d.%d", i, j)})
				if err != nil {
					t.Errorf("publish: %v", err)
					return
				}
				if _, twice := seqs.LoadOrStore(a.Seq, true); twice {
					t.Errorf("sequence %d was given twice", a.Seq)
				}
			}
		})
	}
	wg.Wait()
}
