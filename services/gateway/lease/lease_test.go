package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/gateway/lease"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ttl = 2 * time.Second
	// patience only ends a test that has failed.
	patience = time.Minute
)

// candidates want one lease.
type candidates struct {
	t      *testing.T
	server *bustest.Server
	active atomic.Int32
	took   chan string // who has just taken it
	lost   chan string // who has just given it up
	work   sync.WaitGroup
}

func newCandidates(t *testing.T) *candidates {
	t.Helper()
	c := &candidates{t: t, server: bustest.Start(t), took: make(chan string, 100), lost: make(chan string, 100)}
	c.server.Provisioned(bus.Layout{})
	t.Cleanup(c.work.Wait)
	return c
}

// join adds a candidate. Its bus is its own, so that it can lose NATS alone; stop ends it in order.
func (c *candidates) join(name string) (lose, stop func()) {
	c.t.Helper()
	b, err := bus.Connect(c.t.Context(), bus.Options{URL: c.server.URL(), Name: name})
	if err != nil {
		c.t.Fatal(err)
	}
	lose = sync.OnceFunc(func() {
		if err := b.Close(context.WithoutCancel(c.t.Context())); err != nil {
			c.t.Errorf("close: %v", err)
		}
	})
	c.t.Cleanup(lose)
	ctx, cancel := context.WithCancel(context.Background())
	c.t.Cleanup(cancel)
	c.work.Go(func() {
		lease.Run(ctx, lease.Options{
			Bucket: b.Bucket(subject.BucketLeases), Key: "tunnel.x", Holder: name, TTL: ttl, Log: slog.New(slog.DiscardHandler),
		}, func(string) {}, func(ctx context.Context) {
			if n := c.active.Add(1); n != 1 {
				c.t.Errorf("%d hold the lease at once, the last is %s", n, name)
			}
			c.took <- name
			<-ctx.Done()
			c.active.Add(-1)
			c.lost <- name
		})
	})
	return lose, cancel
}

func (c *candidates) next(what chan string) string {
	c.t.Helper()
	select {
	case name := <-what:
		return name
	case <-time.After(patience):
		c.t.Fatal("nobody takes or loses the lease")
		return ""
	}
}

func TestOneOfThreeHolds(t *testing.T) {
	c := newCandidates(t)
	loses, stops := map[string]func(){}, map[string]func(){}
	for i := range 3 {
		name := fmt.Sprintf("candidate-%d", i)
		loses[name], stops[name] = c.join(name)
	}
	first := c.next(c.took)

	// In order: the next one has it at once.
	began := time.Now()
	stops[first]()
	second := c.next(c.took)
	t.Logf("a hand-over took %s; in an idle process less than a second", time.Since(began))

	// A server that restarts takes it from nobody, or the holder gives it up before another one has it.
	c.server.Restart()

	// Without NATS: the holder gives up by itself, before another one has it.
	began = time.Now()
	loses[second]()
	third := c.next(c.took)
	t.Logf("a take-over took %s; in an idle process less than %s", time.Since(began), ttl+2*time.Second)
	if third == second {
		t.Errorf("%s took it without NATS", third)
	}
	stops[second]()
}

// Every renewal carries the TTL: a key without would outlive its holder for ever.
func TestTheKeyDiesWithItsHolderAlsoAfterRenewals(t *testing.T) {
	c := newCandidates(t)
	lose, _ := c.join("only")
	c.next(c.took)
	watcher := c.server.Connect()
	renewed, gone := 0, false
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := watcher.Bucket(subject.BucketLeases).Watch(ctx, "", func(e *bus.Entry) {
		switch {
		case e == nil:
		case e.Deleted:
			gone = true
			cancel()
		default:
			if renewed++; renewed == 3 {
				lose()
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !gone {
		t.Fatalf("after %d renewals the key stays without its holder", renewed)
	}
	if _, err := watcher.Bucket(subject.BucketLeases).Get(t.Context(), "tunnel.x"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("the key: %v", err)
	}
}
