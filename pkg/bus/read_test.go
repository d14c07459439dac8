package bus_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

func TestReads(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, _ string) {
		t.Helper()
		ctx, stream := t.Context(), subject.StreamWaits
		// Names that the server's answers use themselves.
		odd := bus.Header{"Status": "404", "Description": "mine", "Nats-Sequence": "99", "Nats-Subject": "else"}
		one := publish(t, b, &bus.Message{Subject: "callback.a", Data: []byte("one"), Header: odd})
		two := publish(t, b, &bus.Message{Subject: "callback.a", Data: []byte("two")})
		publish(t, b, &bus.Message{Subject: "callback.b"})
		three := publish(t, b, &bus.Message{Subject: "callback.a", Data: []byte("three")})

		for name, c := range map[string]struct {
			read func() (*bus.Stored, error)
			want string // empty: not found
		}{
			"last":         {func() (*bus.Stored, error) { return b.Last(ctx, stream, "callback.a") }, "three"},
			"last of none": {func() (*bus.Stored, error) { return b.Last(ctx, stream, "callback.none") }, ""},
			"next from 0":  {func() (*bus.Stored, error) { return b.Next(ctx, stream, "callback.a", 0) }, "one"},
			"next exactly": {func() (*bus.Stored, error) { return b.Next(ctx, stream, "callback.a", two.Seq) }, "two"},
			"next behind":  {func() (*bus.Stored, error) { return b.Next(ctx, stream, "callback.a", two.Seq+1) }, "three"},
			"next beyond":  {func() (*bus.Stored, error) { return b.Next(ctx, stream, "callback.a", three.Seq+1) }, ""},
			"next of none": {func() (*bus.Stored, error) { return b.Next(ctx, stream, "callback.none", 0) }, ""},
			"at":           {func() (*bus.Stored, error) { return b.At(ctx, stream, one.Seq) }, "one"},
			"at nothing":   {func() (*bus.Stored, error) { return b.At(ctx, stream, 1000) }, ""},
			"last after": {func() (*bus.Stored, error) {
				return b.LastAfter(ctx, stream, "callback.a", &bus.Stored{Subject: "callback.b", Seq: 3})
			}, "three"},
			"last after self": {func() (*bus.Stored, error) {
				return b.LastAfter(ctx, stream, "callback.a", &bus.Stored{Subject: "callback.a", Seq: 4})
			}, "three"},
			"last after none": {func() (*bus.Stored, error) {
				return b.LastAfter(ctx, stream, "callback.none", &bus.Stored{Subject: "callback.a", Seq: 4})
			}, ""},
			"last after gone": {func() (*bus.Stored, error) {
				return b.LastAfter(ctx, stream, "callback.none", &bus.Stored{Subject: "callback.gone", Seq: 2})
			}, ""},
		} {
			m, err := c.read()
			switch {
			case c.want == "":
				if !errors.Is(err, bus.ErrNotFound) {
					t.Errorf("%s: %+v, %v", name, m, err)
				}
			case err != nil || string(m.Data) != c.want || m.Subject != "callback.a":
				t.Errorf("%s: %+v, %v", name, m, err)
			case c.want == "one":
				if m.Seq != one.Seq || m.Header["Status"] != "404" {
					t.Errorf("%s: %+v", name, m)
				}
			}
		}
		for name, c := range map[string]struct {
			filter string
			from   uint64
			n      int
			want   string
		}{
			"all of one": {"callback.a", 0, 10, "one two three"},
			"the first":  {"callback.>", 0, 2, "one two"},
			"from there": {"callback.a", two.Seq, 10, "two three"},
			"none":       {"callback.none", 0, 10, ""},
		} {
			many, err := b.NextMany(ctx, stream, c.filter, c.from, c.n)
			var got []string
			for _, m := range many {
				got = append(got, string(m.Data))
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		if _, err := b.NextMany(ctx, "NOSUCH", "x", 1, 1); err == nil {
			t.Error("many of no stream: no error")
		}
		_, err := b.Last(ctx, "NOSUCH", "x")
		wantCode(t, err, fault.Unavailable)
		if fault.HintOf(err) == "" {
			t.Errorf("no hint in %v", err)
		}
	})
}

// What has been acknowledged is seen by every read that begins later, on every connection. (A direct read of a replicated
// stream misses some: that is what this is about.)
func TestReadsAreUpToDate(t *testing.T) {
	c := bustest.Cluster(t, 3)
	c.Provisioned(bus.Layout{})
	buses := []*bus.Bus{c.Connect(0), c.Connect(1), c.Connect(2)}
	var wg sync.WaitGroup
	for w := range 12 {
		wg.Go(func() {
			writer, reader := buses[w%3], buses[(w+w/3)%3]
			write := func(subj string) uint64 {
				a, err := writer.Publish(t.Context(), &bus.Message{Subject: subj})
				if err != nil {
					t.Errorf("publish: %v", err)
				}
				return a.Seq
			}
			for i := range 200 {
				id := fmt.Sprintf("%d.%d", w, i)
				write(subject.Wait(id)) // a replica that lags may answer with this one
				seq := write(subject.Wait(id))
				for name, read := range map[string]func() (*bus.Stored, error){
					"last": func() (*bus.Stored, error) { return reader.Last(t.Context(), subject.StreamWaits, subject.Wait(id)) },
					"last after": func() (*bus.Stored, error) {
						return reader.LastAfter(t.Context(), subject.StreamWaits, subject.Wait(id), &bus.Stored{Subject: subject.Wait(id), Seq: seq})
					},
					"next": func() (*bus.Stored, error) {
						return reader.Next(t.Context(), subject.StreamWaits, subject.Wait(id), seq)
					},
					"next of many": func() (*bus.Stored, error) {
						many, err := reader.NextMany(t.Context(), subject.StreamWaits, subject.Wait(id), 1, 10)
						if err != nil || len(many) == 0 {
							return nil, err
						}
						return many[len(many)-1], nil
					},
				} {
					if m, err := read(); err != nil || m.Seq != seq {
						t.Errorf("%s: %+v, %v; acknowledged was %d", name, m, err, seq)
					}
					break // one of them, whichever: the next would find the replicas caught up
				}
			}
		})
	}
	wg.Wait()
}

// A server closes the connection over a line of more than 4 KiB, and all that goes on it ends with it.
func TestTooLongASubjectIsNotSent(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, _ string) {
		t.Helper()
		ctx, k, long := t.Context(), b.Bucket(subject.BucketRuns), strings.Repeat("x", 5000)
		_, get := k.Get(ctx, long)
		_, create := k.Create(ctx, long, nil, 0)
		_, publish := b.PublishCallback(ctx, &event.Callback{ID: long})
		_, request := b.Request(ctx, subject.Callback(long), nil, nil)
		for name, err := range map[string]error{
			"get": get, "create": create, "publish": publish, "request": request, "notify": b.Notify(subject.Callback(long), nil, nil),
		} {
			// Of a replicated stream the leader is asked, with the key in the request and not in its subject.
			if !errors.Is(err, bus.ErrSubject) && (name != "get" || !errors.Is(err, bus.ErrNotFound)) {
				t.Errorf("%s: %.200v", name, err)
			}
		}
		if _, err := k.Create(ctx, strings.Repeat("y", 1024), nil, 0); err != nil {
			t.Errorf("the longest id: %v", err)
		}
		if !b.Connected() {
			t.Error("the connection is closed")
		}
	})
}

func TestBucket(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, _ string) {
		t.Helper()
		ctx := t.Context()
		k := b.Bucket(subject.BucketRuns)
		const odd = "a key/with *.>, ünd nothing."
		if _, err := k.Get(ctx, odd); !errors.Is(err, bus.ErrNotFound) {
			t.Errorf("get before: %v", err)
		}
		r1, err := k.Create(ctx, odd, []byte("1"), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Create(ctx, odd, []byte("x"), 0); !errors.Is(err, bus.ErrConflict) {
			t.Errorf("create again: %v", err)
		}
		r2, err := k.Update(ctx, odd, []byte("2"), r1, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Update(ctx, odd, []byte("x"), r1, 0); !errors.Is(err, bus.ErrConflict) {
			t.Errorf("update an old revision: %v", err)
		}
		e, err := k.Get(ctx, odd)
		if err != nil || e.Key != odd || string(e.Value) != "2" || e.Revision != r2 || e.Time.IsZero() {
			t.Errorf("get: %+v, %v", e, err)
		}
		if err := k.Delete(ctx, odd); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Get(ctx, odd); !errors.Is(err, bus.ErrNotFound) {
			t.Errorf("get what was deleted: %v", err)
		}
		if _, err := k.Create(ctx, odd, []byte("3"), 0); err != nil {
			t.Errorf("create what was deleted: %v", err)
		}
		if _, err := k.Put(ctx, "short", []byte("x"), time.Second); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"r.1", "r.2", "s.1"} {
			if _, err := k.Put(ctx, id, []byte(id), 0); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the key with a TTL goes", func() bool {
			_, err := k.Get(ctx, "short")
			return errors.Is(err, bus.ErrNotFound)
		})
		for filter, want := range map[string]string{"": odd + " r.1 r.2 s.1", "r.*": "r.1 r.2", "none": ""} {
			var keys []string
			for e, err := range k.All(ctx, filter) {
				if err != nil {
					t.Fatalf("all %q: %v", filter, err)
				}
				keys = append(keys, e.Key)
			}
			if got := strings.Join(keys, " "); got != want {
				t.Errorf("all %q: %s, want %s", filter, got, want)
			}
		}
	})
}

func TestWatch(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{})
	k := b.Bucket(subject.BucketGateways)
	if _, err := k.Put(t.Context(), "8090", []byte("starting"), 0); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 10)
	ctx := t.Context()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := k.Watch(ctx, "", func(e *bus.Entry) {
			if e == nil {
				seen <- "that is all"
				return
			}
			seen <- fmt.Sprint(e.Key, " ", string(e.Value), " ", e.Deleted)
		}); err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	t.Cleanup(wg.Wait)
	next := func(want string) {
		t.Helper()
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("saw %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("did not see %q", want)
		}
	}
	next("8090 starting false")
	next("that is all")
	if _, err := k.Put(ctx, "8090", []byte("up"), 0); err != nil {
		t.Fatal(err)
	}
	next("8090 up false")
	s.Restart()
	upAgain(t, b)
	if err := k.Delete(ctx, "8090"); err != nil {
		t.Fatal(err)
	}
	for {
		got := ""
		select {
		case got = <-seen: // after a reconnect it may repeat itself
		case <-time.After(patience):
			t.Fatal("did not see the deletion after a restart")
		}
		if got == "8090  true" {
			return
		}
	}
}

func TestProvision(t *testing.T) {
	s := bustest.Start(t)
	var log strings.Builder
	b := bustest.Connect(t, bus.Options{URL: s.URL(), Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	var wg sync.WaitGroup
	for range 4 { // services start together
		other := s.Connect()
		wg.Go(func() {
			if err := other.Provision(t.Context(), bus.Layout{}); err != nil {
				t.Errorf("provision at once: %v", err)
			}
		})
	}
	wg.Wait()
	seed, err := b.RunSeed(t.Context())
	if err != nil || len(seed) != 32 {
		t.Fatalf("seed: %d bytes, %v", len(seed), err)
	}
	if err := b.Provision(t.Context(), bus.Layout{}); err != nil {
		t.Fatal(err)
	}
	if log.Len() > 0 {
		t.Errorf("the same layout again warns: %s", log.String())
	}
	if again, err := b.RunSeed(t.Context()); err != nil || cmp.Diff(seed, again) != "" {
		t.Errorf("the seed has changed: %v", err)
	}
	if err := b.Provision(t.Context(), bus.Layout{KeepReceived: time.Hour, AckWait: time.Minute}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"max_age: want 1h0m0s, have 72h0m0s", "ack_wait: want 1m0s, have 30s"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no warning %q in %s", want, log.String())
		}
	}
}
