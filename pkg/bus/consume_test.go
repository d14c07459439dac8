package bus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// consuming runs a Consume beside the test; its stop ends it and waits.
func consuming(t *testing.T, b *bus.Bus, stream string, inFlight int, f func(ctx context.Context, d *bus.Delivery)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- b.Consume(ctx, bus.ConsumeOptions{Stream: stream, Consumer: subject.ConsumerRunner, MaxInFlight: inFlight}, f)
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("consume: %v", err)
				}
			case <-time.After(patience):
				t.Error("consume does not end")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func consumerInfo(t *testing.T, js jetstream.JetStream, stream string) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := js.Consumer(t.Context(), stream, subject.ConsumerRunner)
	if err != nil {
		t.Fatalf("consumer of %s: %v", stream, err)
	}
	return c.CachedInfo()
}

func callbacks(t *testing.T, b *bus.Bus, prefix string, n int) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(64)
	for i := range n {
		g.Go(func() error {
			_, err := b.Publish(t.Context(), &bus.Message{Subject: subject.Callback(fmt.Sprintf("%s%d", prefix, i)), MsgID: fmt.Sprintf("%s%d", prefix, i)})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

// tally counts deliveries by subject.
type tally struct {
	mu sync.Mutex
	of map[string]int
}

func (c *tally) add(s string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.of[s]++
	return c.of[s]
}

func (c *tally) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.of)
}

func (c *tally) most() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.of {
		n = max(n, v)
	}
	return n
}

func TestConsume(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, url string) {
		t.Helper()
		_, js := foreign(t, url)
		const n = 2000
		callbacks(t, b, "x", n/2)
		var got tally
		stop := consuming(t, b, subject.StreamWaits, 64, func(_ context.Context, d *bus.Delivery) {
			if d.Deliveries != 1 || d.Header["Nats-Msg-Id"] == "" || d.Time.IsZero() || d.Seq == 0 {
				t.Errorf("delivery %+v", d)
			}
			got.add(d.Subject)
			if err := d.Ack(); err != nil {
				t.Errorf("ack: %v", err)
			}
		})
		callbacks(t, b, "y", n/2)
		eventually(t, "all are delivered", func() bool { return got.len() == n })
		stop()
		eventually(t, "all are acknowledged", func() bool {
			i := consumerInfo(t, js, subject.StreamWaits)
			return i.NumAckPending == 0 && i.NumPending == 0
		})
		if got.most() != 1 {
			t.Errorf("delivered up to %d times", got.most())
		}
	})
}

// Arrivals are told of in their order, each before it is processed, though they are processed side by side.
func TestConsumeTellsOfArrivals(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	const n = 500
	callbacks(t, b, "x", n)
	var mu sync.Mutex
	var order []uint64
	var got tally
	ctx, stop := context.WithCancel(t.Context())
	err := b.Consume(ctx, bus.ConsumeOptions{
		Stream: subject.StreamWaits, Consumer: subject.ConsumerRunner,
		Arrived: func(d *bus.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, d.Seq)
		},
	}, func(_ context.Context, d *bus.Delivery) {
		mu.Lock()
		_, told := slices.BinarySearch(order, d.Seq)
		mu.Unlock()
		if !told {
			t.Errorf("%d is processed and has not arrived", d.Seq)
		}
		if err := d.Ack(); err != nil {
			t.Errorf("ack: %v", err)
		}
		if got.add(d.Subject); got.len() == n {
			stop()
		}
	})
	if err != nil || len(order) != n || !slices.IsSorted(order) {
		t.Errorf("%v; told of %d: %v", err, len(order), order)
	}
}

// What cannot be processed stays at the server: nothing is fetched beyond the free places, for others to take.
func TestConsumeTakesNoMoreThanItsPlaces(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{})
	_, js := foreign(t, s.URL())
	const places, n = 7, 100
	callbacks(t, b, "x", n)
	gate := make(chan struct{})
	var running, most, done atomic.Int32
	stop := consuming(t, b, subject.StreamWaits, places, func(_ context.Context, d *bus.Delivery) {
		if r := running.Add(1); r > most.Load() {
			most.Store(r)
		}
		<-gate
		running.Add(-1)
		_ = d.Ack()
		done.Add(1)
	})
	eventually(t, "all places are taken", func() bool { return running.Load() == places })
	for range 20 {
		if i := consumerInfo(t, js, subject.StreamWaits); i.NumAckPending != places {
			t.Fatalf("%d are out, want %d", i.NumAckPending, places)
		}
	}
	// A second service takes from the rest.
	other := s.Connect()
	var others atomic.Int32
	stopOther := consuming(t, other, subject.StreamWaits, 5, func(_ context.Context, d *bus.Delivery) {
		others.Add(1)
		_ = d.Ack()
	})
	eventually(t, "the other takes the rest", func() bool { return others.Load() == n-places })
	stopOther()
	close(gate)
	eventually(t, "the first finishes its own", func() bool { return done.Load() == places })
	stop()
	if most.Load() != places {
		t.Errorf("%d ran at once", most.Load())
	}
}

// A message that nobody acknowledged is delivered again after AckWait, one that is being worked on is not.
func TestConsumeRedelivery(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{AckWait: 2 * time.Second})
	_, js := foreign(t, s.URL())
	callbacks(t, b, "dropped", 1)
	c, err := js.Consumer(t.Context(), subject.StreamWaits, subject.ConsumerRunner)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next(); err != nil { // and its taker dies
		t.Fatal(err)
	}
	callbacks(t, b, "long", 1)
	var got tally
	again := make(chan int, 10)
	consuming(t, b, subject.StreamWaits, 4, func(_ context.Context, d *bus.Delivery) {
		switch got.add(d.Subject); d.Subject {
		case "callback.long0":
			<-time.After(5 * time.Second) // more than twice AckWait
		case "callback.dropped0":
			again <- d.Deliveries
		}
		_ = d.Ack()
	})
	if n := <-again; n != 2 {
		t.Errorf("delivery number %d, want 2", n)
	}
	eventually(t, "both are done", func() bool { return consumerInfo(t, js, subject.StreamWaits).AckFloor.Stream == 2 })
	if got.most() != 1 {
		t.Errorf("deliveries here: %v", got.of)
	}
}

func TestDeliveryIsEndedOnce(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{})
	_, js := foreign(t, s.URL())
	callbacks(t, b, "x", 5)
	var got tally
	stop := consuming(t, b, subject.StreamWaits, 8, func(_ context.Context, d *bus.Delivery) {
		n := got.add(d.Subject)
		switch d.Subject {
		case "callback.x0": // handed back at once, then done
			if n == 1 {
				_ = d.Nak(0)
				return
			}
		case "callback.x1": // forgotten, then done
			if n == 1 {
				return
			}
		case "callback.x2": // given up
			_ = d.Term("no use")
			return
		case "callback.x3": // handed back for a while
			if n == 1 {
				_ = d.Nak(300 * time.Millisecond)
				return
			}
		case "callback.x4": // a bug in the handler
			if n == 1 {
				panic("a bug")
			}
		}
		if err := d.Ack(); err != nil {
			t.Errorf("ack: %v", err)
		}
		_ = d.Nak(0) // too late: has no effect
	})
	eventually(t, "all are done", func() bool {
		i := consumerInfo(t, js, subject.StreamWaits)
		return i.AckFloor.Stream == 5 && i.NumAckPending == 0
	})
	stop()
	want := map[string]int{"callback.x0": 2, "callback.x1": 2, "callback.x2": 1, "callback.x3": 2, "callback.x4": 2}
	for k, n := range want {
		if got.of[k] != n {
			t.Errorf("%s was delivered %d times, want %d", k, got.of[k], n)
		}
	}
}

// At its end Consume takes nothing more, lets what runs finish, and leaves the rest at the server for others, at once.
func TestConsumeEnds(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{})
	_, js := foreign(t, s.URL())
	ctx, cancel := context.WithCancel(t.Context())
	started, gate := make(chan struct{}, 100), make(chan struct{})
	var finished atomic.Int32
	done := make(chan error)
	go func() {
		done <- b.Consume(ctx, bus.ConsumeOptions{Stream: subject.StreamWaits, Consumer: subject.ConsumerRunner, MaxInFlight: 3},
			func(ctx context.Context, d *bus.Delivery) {
				started <- struct{}{}
				<-gate
				if ctx.Err() != nil {
					t.Errorf("the handler's context has ended: %v", ctx.Err())
				}
				_ = d.Ack()
				finished.Add(1)
			})
	}()
	callbacks(t, b, "x", 10)
	for range 3 {
		<-started
	}
	cancel()
	select {
	case err := <-done:
		t.Fatalf("ended before its handlers: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(gate)
	if err := <-done; err != nil || finished.Load() != 3 {
		t.Errorf("%d finished, %v", finished.Load(), err)
	}
	eventually(t, "what it had is done and the rest is there", func() bool {
		i := consumerInfo(t, js, subject.StreamWaits)
		return i.NumAckPending == 0 && i.NumPending == 7
	})
}

// Ending while messages flow loses none of them for the time that an acknowledgement may take: each is done, or is delivered
// to the next at once.
func TestConsumeEndsAmidMessages(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{AckWait: time.Hour})
	var got tally
	const n = 3000
	var publishing sync.WaitGroup
	publishing.Go(func() { callbacks(t, b, "x", n) })
	for got.len() < n && !t.Failed() {
		var ended atomic.Bool
		before := got.len()
		stop := consuming(t, b, subject.StreamWaits, 50, func(_ context.Context, d *bus.Delivery) {
			if ended.Load() {
				t.Error("a handler runs after the end")
			}
			_ = d.Ack()
			got.add(d.Subject)
		})
		eventually(t, "some more, or the last", func() bool { return got.len() > before+100 || got.len() == n })
		stop()
		ended.Store(true)
	}
	publishing.Wait()
}

// Through whatever happens to the server, every message is done in the end.
func TestConsumeGoesOn(t *testing.T) {
	for name, disturb := range map[string]func(t *testing.T, s *bustest.Server, js jetstream.JetStream){
		"restart": func(_ *testing.T, s *bustest.Server, _ jetstream.JetStream) { s.Restart() },
		"consumer deleted": func(t *testing.T, _ *bustest.Server, js jetstream.JetStream) {
			t.Helper()
			if err := js.DeleteConsumer(t.Context(), subject.StreamWaits, subject.ConsumerRunner); err != nil {
				t.Errorf("delete the consumer: %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := bustest.Start(t)
			b := s.Provisioned(bus.Layout{AckWait: 2 * time.Second})
			_, js := foreign(t, s.URL())
			var got tally
			consuming(t, b, subject.StreamWaits, 16, func(_ context.Context, d *bus.Delivery) {
				<-time.After(time.Millisecond)
				if d.Ack() == nil {
					got.add(d.Subject)
				}
			})
			callbacks(t, b, "before", 500)
			eventually(t, "some are done", func() bool { return got.len() > 100 })
			disturb(t, s, js)
			upAgain(t, b)
			callbacks(t, b, "after", 500)
			eventually(t, "all are done", func() bool { return got.len() == 1000 })
		})
	}
}

func TestConsumeSurvivesTheLeader(t *testing.T) {
	c := bustest.Cluster(t, 3)
	c.Provisioned(bus.Layout{AckWait: 2 * time.Second})
	b := bustest.Connect(t, bus.Options{URL: c.URL()})
	var got tally
	consuming(t, b, subject.StreamWaits, 16, func(_ context.Context, d *bus.Delivery) {
		if d.Ack() == nil {
			got.add(d.Subject)
		}
	})
	callbacks(t, b, "before", 300)
	leader := c.Servers[c.Leader(subject.StreamWaits)]
	leader.Stop()
	upAgain(t, b)
	callbacks(t, b, "between", 300)
	leader.Start()
	c.AwaitReady()
	callbacks(t, b, "after", 300)
	eventually(t, "all are done", func() bool { return got.len() == 900 })
}

func TestConsumeWithoutStream(t *testing.T) {
	s := bustest.Start(t)
	b := s.Connect()
	err := b.Consume(t.Context(), bus.ConsumeOptions{Stream: subject.StreamWaits, Consumer: subject.ConsumerRunner}, func(context.Context, *bus.Delivery) {})
	wantCode(t, err, fault.Unavailable)
	if fault.HintOf(err) == "" {
		t.Errorf("no hint in %v", err)
	}
}

// Run requests are a work queue: what is done is gone.
func TestConsumeRequests(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{})
	_, js := foreign(t, s.URL())
	publish(t, b, &bus.Message{Subject: subject.RunRequest("w")})
	consuming(t, b, subject.StreamRuns, 4, func(_ context.Context, d *bus.Delivery) { _ = d.Ack() })
	eventually(t, "the request is taken", func() bool {
		st, err := js.Stream(t.Context(), subject.StreamRuns)
		return err == nil && st.CachedInfo().State.Msgs == 0
	})
}
