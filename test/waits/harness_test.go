// Package waits_test plays the wait protocol on real servers under tight interleaving: for each id one wait and its callback
// at the same moment, some of them twice, on connections to different servers, with runners that fail now and then.
package waits_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

var ids = flag.Int("ids", 20000, "ids for each of the topologies")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const (
	runners    = 4
	atOnce     = 128                    // ids in the making
	tight      = 300 * time.Microsecond // between a wait and its callback, either way
	duplicates = 10                     // one in so many callbacks comes twice
	failures   = 50                     // one in so many handlers fails, and its message comes again
	sharedIDs  = 10                     // one in so many ids is not the run's own
)

// protocol is what is tested: wait.Waits, or something else that claims to do the same.
type protocol interface {
	Park(ctx context.Context, w event.Wait, o wait.Options) ([]*event.Callback, error)
	Look(ctx context.Context, cb *event.Callback) (wait.Found, error)
	End(ctx context.Context, w event.Wait, used uint64) error
}

// lab is a NATS with some runners on it.
type lab struct {
	t     *testing.T
	buses []*bus.Bus
	waits []protocol
	js    jetstream.JetStream
	runs  *sync.Map // run id → *outcome
	round int
	early atomic.Int64 // runs whose callback was there before their wait
}

// outcome is what became of a run.
type outcome struct{ resumed atomic.Int32 }

// document fences a run: who goes on saves it first.
type document struct {
	Waiting bool   `json:"waiting"`
	Used    uint64 `json:"used"`
}

func newLab(t *testing.T, replicas int, protocolOn func(b *bus.Bus, js jetstream.JetStream) protocol) *lab {
	t.Helper()
	l := &lab{t: t, runs: new(sync.Map)}
	urls := []string{}
	if replicas == 1 {
		s := bustest.Start(t)
		s.Provisioned(bus.Layout{})
		urls = append(urls, s.URL())
	} else {
		c := bustest.Cluster(t, replicas)
		c.Provisioned(bus.Layout{})
		for _, s := range c.Servers {
			urls = append(urls, s.URL())
		}
	}
	for i := range runners {
		url := urls[i%len(urls)]
		b := bustest.Connect(t, bus.Options{URL: url, Name: fmt.Sprintf("runner %d", i), PublishTimeout: 30 * time.Second})
		nc, err := nats.Connect(url)
		if err != nil {
			t.Fatalf("connect: %v", err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatalf("jetstream: %v", err)
		}
		l.js = js
		l.buses, l.waits = append(l.buses, b), append(l.waits, protocolOn(b, js))
	}
	return l
}

// play makes n ids and gives those whose runs did not go on, and those that did more than once.
func (l *lab) play(n int) (lost, doubled []string) {
	l.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var consuming sync.WaitGroup
	for i, b := range l.buses {
		consuming.Go(func() {
			err := b.Consume(ctx, bus.ConsumeOptions{Stream: subject.StreamWaits, Consumer: subject.ConsumerRunner, MaxInFlight: 256},
				func(ctx context.Context, d *bus.Delivery) { l.handle(ctx, i, d) })
			if err != nil {
				l.t.Errorf("consume: %v", err)
			}
		})
	}
	defer consuming.Wait()
	defer stop()
	l.round++
	var making sync.WaitGroup
	next := atomic.Int64{}
	for range atOnce {
		making.Go(func() {
			for i := next.Add(1); i <= int64(n) && !l.t.Failed(); i = next.Add(1) {
				l.one(fmt.Sprintf("r%d-%d", l.round, i))
			}
		})
	}
	making.Wait()
	l.drain()
	l.runs.Range(func(run, o any) bool {
		switch o.(*outcome).resumed.Load() {
		case 0:
			lost = append(lost, run.(string))
		case 1:
		default:
			doubled = append(doubled, run.(string))
		}
		return true
	})
	l.runs.Clear()
	return lost, doubled
}

// one makes a run's wait and its callback at the same moment.
func (l *lab) one(run string) {
	w := event.Wait{ID: run + ".j", Run: run, Job: "j", Attempt: 1, Since: time.Now(), Deadline: time.Now().Add(time.Hour)}
	if rand.IntN(sharedIDs) == 0 {
		w.ID = "task-" + run
	}
	l.runs.Store(run, new(outcome))
	runner := rand.IntN(runners)
	if _, err := l.runsOf(runner).Create(context.Background(), run, encode(document{Waiting: true}), 0); err != nil {
		l.t.Errorf("make run %s: %v", run, err)
		return
	}
	var both sync.WaitGroup
	copies := 1
	if rand.IntN(duplicates) == 0 {
		copies = 2
	}
	for range copies {
		both.Go(func() {
			<-time.After(rand.N(tight))
			l.publish(w.ID)
		})
	}
	both.Go(func() {
		<-time.After(rand.N(tight))
		l.request(runner, w)
		if rand.IntN(failures) == 0 { // the request's message comes again
			l.request(rand.IntN(runners), w)
		}
	})
	both.Wait()
}

func (l *lab) publish(id string) {
	cb := &event.Callback{ID: id, Result: json.RawMessage(`{"ok":true}`)}
	if _, err := l.buses[rand.IntN(runners)].PublishCallback(context.Background(), cb); err != nil {
		l.t.Errorf("publish for %s: %v", id, err)
	}
}

func (l *lab) runsOf(runner int) *bus.Bucket { return l.buses[runner].Bucket(subject.BucketRuns) }

// request is a runner's handling of a run request: its document waits, now park.
func (l *lab) request(runner int, w event.Wait) {
	ctx := context.Background()
	early, err := l.waits[runner].Park(ctx, w, wait.Options{})
	if err != nil {
		l.t.Errorf("park %s: %v", w.ID, err)
		return
	}
	if len(early) > 0 {
		l.early.Add(1)
	}
	for _, cb := range early {
		if err := l.take(ctx, runner, w, cb, false); err != nil {
			l.t.Errorf("early callback for %s: %v", w.ID, err)
		}
	}
}

// handle is a runner's handling of a callback.
func (l *lab) handle(ctx context.Context, runner int, d *bus.Delivery) {
	cb, err := bus.DecodeCallback(&d.Stored)
	if err != nil {
		l.t.Errorf("decode: %v", err)
		return
	}
	f, err := l.waits[runner].Look(ctx, cb)
	if err == nil && f.Wait != nil {
		err = l.take(ctx, runner, *f.Wait, cb, d.Deliveries == 1 && rand.IntN(failures) == 0)
	}
	switch {
	case errors.Is(err, errCrash):
		_ = d.Nak(0)
	case err != nil:
		l.t.Errorf("callback for %s: %v", cb.ID, err)
	default:
		_ = d.Ack()
	}
}

var errCrash = errors.New("crash")

// take goes on with a run: who saves the document does.
func (l *lab) take(ctx context.Context, runner int, w event.Wait, cb *event.Callback, crash bool) error {
	for {
		e, err := l.runsOf(runner).Get(ctx, w.Run)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		var d document
		if err := json.Unmarshal(e.Value, &d); err != nil {
			return err
		}
		if d.Waiting {
			d = document{Used: cb.Seq}
			switch _, err := l.runsOf(runner).Update(ctx, w.Run, encode(d), e.Revision, time.Hour); {
			case errors.Is(err, bus.ErrConflict):
				continue
			case err != nil:
				return fmt.Errorf("save: %w", err)
			}
			if o, ok := l.runs.Load(w.Run); ok {
				o.(*outcome).resumed.Add(1)
			}
			if crash {
				return errCrash
			}
		}
		return l.waits[runner].End(ctx, w, d.Used)
	}
}

// drain waits until every callback has been handled: what has not gone on by then never will.
func (l *lab) drain() {
	l.t.Helper()
	for left := l.unhandled(); left > 0 && !l.t.Failed(); {
		before := left
		bustest.Eventually(l.t, "more callbacks are handled", func() bool {
			left = l.unhandled()
			return left < before || l.t.Failed()
		})
	}
}

func (l *lab) unhandled() uint64 {
	l.t.Helper()
	c, err := l.js.Consumer(l.t.Context(), subject.StreamWaits, subject.ConsumerRunner)
	if err != nil {
		l.t.Fatalf("how many callbacks are left: %v", err)
	}
	return c.CachedInfo().NumPending + uint64(max(c.CachedInfo().NumAckPending, 0))
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
