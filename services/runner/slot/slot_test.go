package slot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/slot"
)

func TestMain(m *testing.M) {
	bustest.Main()
	goleak.VerifyTestMain(m)
}

// everywhere runs a test on one server and on three. The queue is read from any copy; settle waits until all are the same.
func everywhere(t *testing.T, f func(t *testing.T, b *bus.Bus, settle func())) {
	t.Helper()
	t.Run("R1", func(t *testing.T) { f(t, bustest.Start(t).Provisioned(bus.Layout{}), func() {}) })
	t.Run("R3", func(t *testing.T) {
		nodes := bustest.Cluster(t, 3)
		f(t, nodes.Provisioned(bus.Layout{}), func() { nodes.AwaitCopies("KV_slots") })
	})
}

func ticket(run string, order uint64, limit int) slot.Ticket {
	return slot.Ticket{Group: slot.Group("w", nil), Run: run, Number: 1, Order: order, Limit: limit, Ring: run + "..turn"}
}

func acquire(t *testing.T, s *slot.Slots, tk slot.Ticket, want bool) {
	t.Helper()
	if got, err := s.Acquire(t.Context(), tk); err != nil || got != want {
		t.Fatalf("%s acquires: %v, %v, want %v", tk.Run, got, err, want)
	}
}

func release(t *testing.T, s *slot.Slots, tk slot.Ticket) {
	t.Helper()
	if err := s.Release(t.Context(), tk); err != nil {
		t.Fatalf("%s releases: %v", tk.Run, err)
	}
}

// rings counts how often a run was rung for.
func rings(t *testing.T, b *bus.Bus, run string) int {
	t.Helper()
	many, err := b.NextMany(t.Context(), subject.StreamWaits, subject.Timeout(run+"..turn"), 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	return len(many)
}

func TestTurnsAreGivenInOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, settle func()) {
		t.Helper()
		s, other := slot.New(b), slot.New(b)
		one, two, three, four := ticket("one", 1, 2), ticket("two", 2, 2), ticket("three", 3, 2), ticket("four", 4, 2)
		acquire(t, s, one, true)
		acquire(t, other, two, true)
		acquire(t, s, four, false) // queued before three, and asked for after it
		acquire(t, other, three, false)
		acquire(t, s, one, true) // asking again changes nothing
		acquire(t, s, four, false)

		settle()
		release(t, other, one)
		bustest.Eventually(t, "a ring for three", func() bool { return rings(t, b, "three") == 1 })
		if n := rings(t, b, "four"); n != 0 {
			t.Errorf("four was rung for %d times", n)
		}
		settle()
		acquire(t, s, three, true)
		acquire(t, s, four, false)
		release(t, s, one) // again
		acquire(t, s, four, false)
		five := ticket("five", 5, 2)
		acquire(t, s, five, false)
		release(t, s, four) // leaves the queue
		settle()
		release(t, s, two)
		acquire(t, s, five, true)
		for _, tk := range []slot.Ticket{three, five} {
			settle()
			release(t, s, tk)
		}
		settle()
		acquire(t, s, ticket("six", 6, 1), true)
	})
}

func TestALimitIsForEachKey(t *testing.T) {
	s := slot.New(bustest.Start(t).Provisioned(bus.Layout{}))
	a, b := ticket("a", 1, 1), ticket("b", 2, 1)
	a.Group, b.Group = slot.Group("w", []byte(`"x"`)), slot.Group("w", []byte(`"y"`))
	acquire(t, s, a, true)
	acquire(t, s, b, true)
	c := ticket("c", 3, 1)
	c.Group = a.Group
	acquire(t, s, c, false)
}

func TestARaisedLimitCountsForThoseThatHaveIt(t *testing.T) {
	s := slot.New(bustest.Start(t).Provisioned(bus.Layout{}))
	acquire(t, s, ticket("a", 1, 1), true)
	acquire(t, s, ticket("b", 2, 1), false)
	acquire(t, s, ticket("c", 3, 3), false) // behind b, which has the old limit
	release(t, s, ticket("a", 1, 1))
	acquire(t, s, ticket("b", 2, 1), true)
	acquire(t, s, ticket("c", 3, 3), true)
}

// TestWhatACrashLeavesIsMended stops every operation after each of its writes.
func TestWhatACrashLeavesIsMended(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	for n := range 8 {
		group := slot.Group(fmt.Sprint("crash", n), nil)
		tk := func(run string, order uint64) slot.Ticket {
			tk := ticket(fmt.Sprintf("%s%d", run, n), order, 1)
			tk.Group = group
			return tk
		}
		s := slot.New(b)
		acquire(t, s, tk("a", 1), true)
		acquire(t, s, tk("b", 2), false)
		acquire(t, s, tk("c", 3), false)
		dying := slot.New(&mortal{Bus: b, left: n})
		err := dying.Release(t.Context(), tk("a", 1))
		if err != nil && !errors.Is(err, errDead) {
			t.Fatal(err)
		}
		release(t, s, tk("a", 1)) // its message comes again
		if rings(t, b, tk("b", 2).Run) == 0 {
			t.Errorf("dead after %d writes: nobody rang for the next one", n)
		}
		acquire(t, s, tk("b", 2), true)
		acquire(t, s, tk("c", 3), false)
	}
}

var errDead = errors.New("dead")

type mortal struct {
	*bus.Bus
	left int
}

func (m *mortal) Publish(ctx context.Context, msg *bus.Message) (bus.Ack, error) {
	if m.left == 0 {
		return bus.Ack{}, errDead
	}
	m.left--
	return m.Bus.Publish(ctx, msg)
}

func TestCheckTakesOutWhoHasGone(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	s := slot.New(b)
	acquire(t, s, ticket("gone", 1, 2), true)
	acquire(t, s, ticket("here", 2, 2), true)
	acquire(t, s, ticket("next", 3, 2), false)
	alive := func(_ context.Context, run string, _ int) (bool, error) { return run == "here", nil }
	if err := s.Check(t.Context(), slot.Group("w", nil), alive); err != nil {
		t.Fatal(err)
	}
	acquire(t, s, ticket("next", 3, 2), false) // too fresh to be doubted: its run may not have got so far
	slot.Age(t, b, slot.Group("w", nil), time.Minute)
	if err := s.Check(t.Context(), slot.Group("w", nil), alive); err != nil {
		t.Fatal(err)
	}
	acquire(t, s, ticket("next", 3, 2), true)
	acquire(t, s, ticket("late", 4, 2), false)
}

// TestNeverMoreThanTheLimit lets many runs ask for a few turns at once, through several runners.
func TestNeverMoreThanTheLimit(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, settle func()) {
		t.Helper()
		const runs, limit = 60, 3
		runners := []*slot.Slots{slot.New(b), slot.New(b), slot.New(b)}
		var going, most atomic.Int32
		var group errgroup.Group
		for i := range runs {
			group.Go(func() error {
				s := runners[rand.IntN(len(runners))]
				tk := ticket(fmt.Sprintf("run-%d", i), uint64(i)+1, limit)
				for {
					granted, err := s.Acquire(t.Context(), tk)
					if err != nil {
						return err
					}
					if granted {
						break
					}
					for rings(t, b, tk.Run) == 0 {
						select {
						case <-time.After(5 * time.Millisecond):
						case <-t.Context().Done():
							return t.Context().Err()
						}
					}
				}
				if n := going.Add(1); n > most.Load() {
					most.Store(n)
				}
				_ = rings(t, b, tk.Run) // some work
				going.Add(-1)
				return runners[rand.IntN(len(runners))].Release(t.Context(), tk)
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if n := most.Load(); n > limit {
			t.Errorf("%d went at once", n)
		}
		// A copy that lags may have had one in the queue that has ended: it is rung for, and its turn given back.
		bustest.Eventually(t, "nobody has a turn", func() bool {
			settle()
			m, err := b.Last(t.Context(), "KV_slots", subject.SlotHolders(slot.Group("w", nil)))
			if err != nil {
				t.Fatal(err)
			}
			var left struct{ Holders []struct{ Run string } }
			if err := json.Unmarshal(m.Data, &left); err != nil {
				t.Fatal(err)
			}
			for _, h := range left.Holders {
				if rings(t, b, h.Run) > 0 {
					release(t, runners[0], ticket(h.Run, 0, limit))
				}
			}
			return len(left.Holders) == 0
		})
	})
}
