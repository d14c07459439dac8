package bus_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// parked is a wait as the runners publish it: on its key, its own timer, conditional on its callbacks.
func parked(id string, due time.Time) *bus.Message {
	return &bus.Message{
		Subject: subject.Wait(id), Data: []byte(`{"id":"` + id + `"}`), Expect: &bus.Expect{Subject: subject.Callback(id)},
		ScheduleAt: due, ScheduleTarget: subject.Timeout(id),
	}
}

// ended is the end of a wait: a KV purge marker on the same key.
func ended(id string, ttl time.Duration) *bus.Message {
	return &bus.Message{Subject: subject.Wait(id), Header: bus.Header{"KV-Operation": "PURGE"}, Rollup: true, TTL: ttl}
}

// A key of the bucket waits is a schedule at the same time. KV clients see a key, the server fires it.
func TestWaitIsItsOwnTimer(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, url string) {
		t.Helper()
		ctx := t.Context()
		_, js := foreign(t, url)
		kv, err := js.KeyValue(ctx, subject.BucketWaits)
		if err != nil {
			t.Fatalf("bind the bucket with nats.go: %v", err)
		}
		watch, err := kv.WatchAll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = watch.Stop() }()

		const n = 50
		began := time.Now()
		for range 6 {
			publish(t, b, &bus.Message{Subject: subject.Callback("probe")})
		}
		// All are published before, also where the machine is busy: ten times as many, and three times as slowly.
		due := time.Now().Add(min(max(3*time.Second, 30*time.Since(began)), patience/2))
		for i := range n {
			// In fractions of a second, which is where the client's own helper is early.
			publish(t, b, parked(fmt.Sprintf("r%d.j", i), due.Add(time.Duration(i)*9*time.Millisecond)))
		}
		cancelled := "cancelled.j"
		publish(t, b, parked(cancelled, due))
		replaced := publish(t, b, parked("replaced.j", due))
		publish(t, b, parked("replaced.j", due.Add(time.Hour)))

		// nats.go reads from any replica, and one may be a little behind.
		eventually(t, "nats.go gets a key", func() bool {
			e, err := kv.Get(ctx, "r7.j")
			return err == nil && string(e.Value()) == `{"id":"r7.j"}`
		})
		eventually(t, "nats.go lists all keys", func() bool { keys, err := kv.Keys(ctx); return err == nil && len(keys) == n+2 })
		publish(t, b, ended(cancelled, time.Hour))

		for i := range n {
			id := fmt.Sprintf("r%d.j", i)
			at := due.Add(time.Duration(i) * 9 * time.Millisecond)
			var m *bus.Stored
			eventually(t, id+" fires", func() bool { m = stored(t, b, subject.Timeout(id)); return m != nil })
			if m.Time.Before(at) {
				t.Errorf("%s fired %v early", id, at.Sub(m.Time))
			}
			if string(m.Data) != `{"id":"`+id+`"}` || m.Header["Nats-Scheduler"] != subject.Wait(id) {
				t.Errorf("%s fired %+v", id, m)
			}
			// The server publishes first and purges then.
			eventually(t, "the key of "+id+" goes after it has fired", func() bool { _, err := kv.Get(ctx, id); return errors.Is(err, jetstream.ErrKeyNotFound) })
		}
		for _, id := range []string{cancelled, "replaced.j"} {
			if m := stored(t, b, subject.Timeout(id)); m != nil {
				t.Errorf("%s fired: %+v", id, m)
			}
		}
		eventually(t, "the cancelled key goes", func() bool { _, err := kv.Get(ctx, cancelled); return errors.Is(err, jetstream.ErrKeyNotFound) })
		eventually(t, "the replaced key is replaced", func() bool { e, err := kv.Get(ctx, "replaced.j"); return err == nil && e.Revision() != replaced.Seq })
		// What was replaced before the watcher got it is not shown to it; the last of each key is.
		last := map[string]jetstream.KeyValueOp{}
		for len(last) < n+2 || last[cancelled] != jetstream.KeyValuePurge {
			select {
			case e := <-watch.Updates():
				if e != nil {
					last[e.Key()] = e.Operation()
				}
			case <-time.After(patience):
				t.Fatalf("watch with nats.go: saw %v", last)
			}
		}

		// The condition on the callbacks.
		publish(t, b, &bus.Message{Subject: subject.Callback("early.j")})
		if _, err := b.Publish(ctx, parked("early.j", due)); !errors.Is(err, bus.ErrConflict) {
			t.Errorf("parked behind a callback: %v", err)
		}
		if m := stored(t, b, subject.Wait("early.j")); m != nil {
			t.Errorf("a refused wait is stored: %+v", m)
		}
	})
}

// A timer on another subject is cancelled together with a publish.
func TestUnschedule(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, _ string) {
		t.Helper()
		set := func(id string, due time.Time) {
			publish(t, b, &bus.Message{Subject: subject.Timer(id), ScheduleAt: due, ScheduleTarget: subject.Timeout(id)})
		}
		var goes string
		for in := 500 * time.Millisecond; ; in *= 2 { // until the machine is quick enough to cancel it in time
			goes = "goes-" + in.String()
			due := time.Now().Add(in)
			set(goes, due)
			publish(t, b, &bus.Message{Subject: subject.Wait("x"), Unschedule: subject.Timer(goes)})
			if time.Now().Before(due) {
				set("stays", due)
				break
			}
		}
		if m := stored(t, b, subject.Timer(goes)); m != nil {
			t.Errorf("the timer is still there: %+v", m)
		}
		publish(t, b, &bus.Message{Subject: subject.Wait("x"), Unschedule: subject.Timer("never set")})
		eventually(t, "the other one fires", func() bool { return stored(t, b, subject.Timeout("stays")) != nil })
		if m := stored(t, b, subject.Timeout(goes)); m != nil {
			t.Errorf("fired: %+v", m)
		}
	})
}

func TestTTL(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, url string) {
		t.Helper()
		_, js := foreign(t, url)
		kv, err := js.KeyValue(t.Context(), subject.BucketWaits)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, b, parked("short.j", time.Now().Add(time.Hour)))
		publish(t, b, ended("short.j", time.Second))
		publish(t, b, ended("long.j", time.Hour))
		publish(t, b, &bus.Message{Subject: subject.Callback("c"), TTL: time.Millisecond}) // rounded up
		// nats.go's own markers on the same bucket.
		if _, err := kv.Create(t.Context(), "theirs", []byte("1"), jetstream.KeyTTL(time.Second)); err != nil {
			t.Errorf("create with a TTL: %v", err)
		}
		if _, err := kv.Put(t.Context(), "purged", []byte("1")); err != nil {
			t.Errorf("put: %v", err)
		}
		if err := kv.Purge(t.Context(), "purged", jetstream.PurgeTTL(time.Second)); err != nil {
			t.Errorf("purge with a TTL: %v", err)
		}
		for _, s := range []string{subject.Wait("short.j"), subject.Callback("c"), subject.Wait("theirs"), subject.Wait("purged")} {
			eventually(t, s+" goes", func() bool { return stored(t, b, s) == nil })
		}
		if stored(t, b, subject.Wait("long.j")) == nil {
			t.Error("the long mark has gone as well")
		}
	})
}

// Every callback of an id is kept, however many come before they are read.
func TestCallbacksAreNotReplaced(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{})
	for i := range 100 {
		publish(t, b, &bus.Message{Subject: subject.Callback("many"), Data: fmt.Append(nil, i)})
	}
	from := uint64(0)
	for i := range 100 {
		m, err := b.Next(t.Context(), subject.StreamWaits, subject.Callback("many"), from)
		if err != nil || string(m.Data) != fmt.Sprint(i) {
			t.Fatalf("callback %d: %+v, %v", i, m, err)
		}
		from = m.Seq + 1
	}
}

// Timers survive: a restart in order, and SIGKILL. What was due meanwhile fires then, once each, and what was cancelled does not.
// What is just being fired fires as well: twice, where the server had published it and not yet removed it.
func TestTimersSurvive(t *testing.T) {
	const n = 200
	// all publishes for each of n, many at once: what is cancelled has to be so before its time.
	all := func(t *testing.T, b *bus.Bus, messages func(i int) []*bus.Message) {
		t.Helper()
		var g errgroup.Group
		g.SetLimit(32)
		for i := range n {
			g.Go(func() error {
				for _, m := range messages(i) {
					if _, err := b.Publish(t.Context(), m); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	set := func(t *testing.T, b *bus.Bus) (cancelledDue, due time.Time) {
		t.Helper()
		began := time.Now()
		cancelledDue = began.Add(2 * time.Second)
		all(t, b, func(i int) []*bus.Message {
			return []*bus.Message{
				parked(fmt.Sprintf("cancelled%d.j", i), cancelledDue), parked(fmt.Sprintf("later%d.j", i), time.Now().Add(time.Hour)),
				ended(fmt.Sprintf("cancelled%d.j", i), time.Hour),
			}
		})
		if !time.Now().Before(cancelledDue) {
			t.Skip("this machine is too slow to cancel in time")
		}
		due = time.Now().Add(500*time.Millisecond + 3*time.Since(began)) // the server is down by then
		all(t, b, func(i int) []*bus.Message { return []*bus.Message{parked(fmt.Sprintf("due%d.j", i), due)} })
		all(t, b, func(i int) []*bus.Message {
			return []*bus.Message{parked(fmt.Sprintf("crossing%d.j", i), time.Now().Add(time.Duration(i)*time.Millisecond/4))}
		})
		return cancelledDue, due
	}
	// pass lets the time pass while the server is down.
	pass := func(t *testing.T, due time.Time) {
		t.Helper()
		if !time.Now().Before(due) {
			t.Skip("this machine is too slow to stop the server in time")
		}
		<-time.After(time.Until(due))
	}
	check := func(t *testing.T, b *bus.Bus, cancelledDue time.Time) {
		t.Helper()
		upAgain(t, b)
		<-time.After(time.Until(cancelledDue.Add(300 * time.Millisecond))) // nothing tells that nothing fires
		for i := range n {
			id := fmt.Sprintf("due%d.j", i)
			eventually(t, id+" fires", func() bool { return stored(t, b, subject.Timeout(id)) != nil })
			m := stored(t, b, subject.Timeout(id))
			if _, err := b.Next(t.Context(), subject.StreamWaits, m.Subject, m.Seq+1); !errors.Is(err, bus.ErrNotFound) {
				t.Errorf("%s fired again: %v", id, err)
			}
			if first, err := b.Next(t.Context(), subject.StreamWaits, m.Subject, 0); err != nil || first.Seq != m.Seq {
				t.Errorf("%s fired twice: %+v, %v", id, first, err)
			}
			if m := stored(t, b, subject.Wait(id)); m != nil {
				t.Errorf("%s fired and stands: %+v", id, m)
			}
			crossing := fmt.Sprintf("crossing%d.j", i)
			eventually(t, crossing+" fires", func() bool {
				return stored(t, b, subject.Timeout(crossing)) != nil && stored(t, b, subject.Wait(crossing)) == nil
			})
			for _, id := range []string{fmt.Sprintf("cancelled%d.j", i), fmt.Sprintf("later%d.j", i)} {
				if m := stored(t, b, subject.Timeout(id)); m != nil {
					t.Errorf("%s fired: %+v", id, m)
				}
				if m := stored(t, b, subject.Wait(id)); m == nil {
					t.Errorf("%s has gone", id)
				}
			}
		}
	}
	t.Run("restart", func(t *testing.T) {
		t.Parallel()
		s := bustest.Start(t)
		b := s.Provisioned(bus.Layout{})
		cancelledDue, due := set(t, b)
		s.Stop()
		pass(t, due)
		s.Start()
		check(t, b, cancelledDue)
	})
	t.Run("kill", func(t *testing.T) {
		t.Parallel()
		p := bustest.StartProcess(t)
		b := p.Provisioned(bus.Layout{})
		cancelledDue, due := set(t, b)
		p.Kill()
		pass(t, due)
		p.Start()
		check(t, b, cancelledDue)
	})
	t.Run("R3 loses its leader", func(t *testing.T) {
		t.Parallel()
		c := bustest.Cluster(t, 3)
		c.Provisioned(bus.Layout{})
		b := bustest.Connect(t, bus.Options{URL: c.URL()})
		cancelledDue, due := set(t, b)
		c.Servers[c.Leader(subject.StreamWaits)].Stop()
		pass(t, due)
		check(t, b, cancelledDue)
	})
}

// What the stream of waits must be like for all this; nats.go binds it as a bucket.
func TestLayoutOfWaits(t *testing.T) {
	s := bustest.Start(t)
	s.Provisioned(bus.Layout{})
	_, js := foreign(t, s.URL())
	st, err := js.Stream(t.Context(), subject.StreamWaits)
	if err != nil {
		t.Fatal(err)
	}
	c := st.CachedInfo().Config
	got := map[string]any{
		"per subject": c.MaxMsgsPerSubject, "discard": c.Discard, "max bytes": c.MaxBytes, "max msgs": c.MaxMsgs,
		"schedules": c.AllowMsgSchedules, "ttl": c.AllowMsgTTL, "rollup": c.AllowRollup, "direct": c.AllowDirect,
	}
	want := map[string]any{
		"per subject": int64(1 << 20), "discard": jetstream.DiscardOld, "max bytes": int64(-1), "max msgs": int64(-1),
		"schedules": true, "ttl": true, "rollup": true, "direct": true,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if c.MaxAge < 30*24*time.Hour {
		t.Errorf("everything goes after %v: a wait may last 30 days", c.MaxAge)
	}
	// Two services that provision at once, and one that wants something else.
	if err := s.Connect().Provision(t.Context(), bus.Layout{AckWait: time.Minute}); err != nil {
		t.Errorf("provision again: %v", err)
	}
}
