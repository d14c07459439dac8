package slot_test

import (
	"context"
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

// everywhere runs a test on one server and on three.
func everywhere(t *testing.T, f func(t *testing.T, b *bus.Bus)) {
	t.Helper()
	t.Run("R1", func(t *testing.T) { f(t, bustest.Start(t).Provisioned(bus.Layout{})) })
	t.Run("R3", func(t *testing.T) { f(t, bustest.Cluster(t, 3).Provisioned(bus.Layout{})) })
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

// begins tells whether the ring of a run that was queued starts it.
func begins(t *testing.T, b *bus.Bus, tk slot.Ticket, want bool) {
	t.Helper()
	if got := rings(t, b, tk.Run) > 0; got != want {
		t.Fatalf("%s is rung for: %v, want %v", tk.Run, got, want)
	}
	if got, err := slot.New(b).Rung(t.Context(), tk); err != nil || got != want {
		t.Fatalf("%s was rung for: %v, %v, want %v", tk.Run, got, err, want)
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
	everywhere(t, func(t *testing.T, b *bus.Bus) {
		t.Helper()
		s, other := slot.New(b), slot.New(b)
		one, two, three, four := ticket("one", 1, 2), ticket("two", 2, 2), ticket("three", 3, 2), ticket("four", 4, 2)
		acquire(t, s, one, true)
		acquire(t, other, two, true)
		acquire(t, s, four, false) // queued before three, and asked for after it
		acquire(t, other, three, false)
		acquire(t, s, one, true) // asking again changes nothing
		acquire(t, s, four, false)

		release(t, other, one)
		begins(t, b, three, true)
		begins(t, b, four, false)
		acquire(t, s, four, false)
		release(t, s, one) // again
		acquire(t, s, four, false)
		five := ticket("five", 5, 2)
		acquire(t, s, five, false)
		release(t, s, four) // leaves the queue
		release(t, s, two)
		begins(t, b, five, true)
		release(t, s, three)
		release(t, s, five)
		begins(t, b, four, false)
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
	bus := bustest.Start(t).Provisioned(bus.Layout{})
	s := slot.New(bus)
	acquire(t, s, ticket("a", 1, 1), true)
	acquire(t, s, ticket("b", 2, 1), false)
	acquire(t, s, ticket("c", 3, 3), false) // behind b, which has the old limit
	release(t, s, ticket("a", 1, 1))
	begins(t, bus, ticket("b", 2, 1), true)
	begins(t, bus, ticket("c", 3, 3), true)
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
		dying := slot.New(&meddled{Bus: b, before: dead(n)})
		err := dying.Release(t.Context(), tk("a", 1))
		if err != nil && !errors.Is(err, errDead) {
			t.Fatal(err)
		}
		release(t, s, tk("a", 1)) // its message comes again
		if rings(t, b, tk("b", 2).Run) == 0 {
			t.Errorf("dead after %d writes: nobody rang for the next one", n)
		}
		begins(t, b, tk("b", 2), true)
		begins(t, b, tk("c", 3), false)
	}
}

var errDead = errors.New("dead")

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
	begins(t, b, ticket("next", 3, 2), false) // too fresh to be doubted: its run may not have got so far
	slot.Age(t, b, slot.Group("w", nil), time.Minute)
	if err := s.Check(t.Context(), slot.Group("w", nil), alive); err != nil {
		t.Fatal(err)
	}
	begins(t, b, ticket("next", 3, 2), true)
	acquire(t, s, ticket("late", 4, 2), false)
}

// TestOfTwoWhoAskBothAreToldTheSame has two runners ask for one run's turn: the one that is told "not yet" acknowledges the message that
// the other goes on with, and dies.
func TestOfTwoWhoAskBothAreToldTheSame(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	first, second := slot.New(b), slot.New(b)
	acquire(t, first, ticket("goes", 1, 1), true)
	acquire(t, first, ticket("goes", 1, 1), true)
	acquire(t, second, ticket("goes", 1, 1), true)

	acquire(t, first, ticket("waits", 2, 1), false)
	dying := slot.New(&meddled{Bus: b, before: dead(2)})
	if err := dying.Release(t.Context(), ticket("goes", 1, 1)); !errors.Is(err, errDead) { // has given the turn, and not rung
		t.Fatal(err)
	}
	if n := rings(t, b, "waits"); n != 0 {
		t.Fatalf("it was rung for %d times", n)
	}
	acquire(t, second, ticket("waits", 2, 1), false)
	begins(t, b, ticket("waits", 2, 1), true)
	acquire(t, first, ticket("waits", 2, 1), false)
	if n := rings(t, b, "waits"); n != 2 { // the first may have been forgotten
		t.Errorf("it was rung for %d times", n)
	}
}

// TestWhoIsLetInHasNotLeft has a queued run leave the queue while another runner is about to give it a turn, and dies then.
func TestWhoIsLetInHasNotLeft(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	s := slot.New(b)
	goes, leaves, next := ticket("goes", 1, 1), ticket("leaves", 2, 1), ticket("next", 3, 1)
	acquire(t, s, goes, true)
	acquire(t, s, leaves, false)
	dying := slot.New(&meddled{Bus: b, before: func(n int) error {
		if n == 1 { // it has read the queue
			release(t, s, leaves)
		}
		return dead(2)(n)
	}})
	if err := dying.Release(t.Context(), goes); err != nil && !errors.Is(err, errDead) {
		t.Fatal(err)
	}
	release(t, s, goes) // its message comes again
	acquire(t, s, next, true)
}

// TestALowerLimitHoldsUpBoth has a run be told "not yet" although there is room, for the one before it goes by an older file with a lower
// limit. Another runner has found the queue empty, and is about to let the same run in.
func TestALowerLimitHoldsUpBoth(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	s := slot.New(b)
	goes, old, asks := ticket("goes", 1, 1), ticket("old", 2, 1), ticket("asks", 3, 2)
	acquire(t, s, goes, true)
	other := slot.New(&meddled{Bus: b, before: func(n int) error {
		if n == 0 {
			acquire(t, s, old, false)
			acquire(t, s, asks, false)
		}
		return nil
	}})
	acquire(t, other, asks, false)
	release(t, s, goes)
	begins(t, b, old, true)
	begins(t, b, asks, true)
}

// meddled is a bus on which something happens before each write; n counts them.
type meddled struct {
	*bus.Bus
	before func(n int) error
	n      int
}

func (m *meddled) Publish(ctx context.Context, msg *bus.Message) (bus.Ack, error) {
	n := m.n
	m.n++
	if err := m.before(n); err != nil {
		return bus.Ack{}, err
	}
	return m.Bus.Publish(ctx, msg)
}

// dead is what a runner gets to hear from so many writes on.
func dead(from int) func(int) error {
	return func(n int) error {
		if n >= from {
			return errDead
		}
		return nil
	}
}

// TestNeverMoreThanTheLimit lets many runs ask for a few turns at once, through several runners.
func TestNeverMoreThanTheLimit(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus) {
		t.Helper()
		const runs, limit = 60, 3
		bells := map[string]chan struct{}{}
		for i := range runs {
			bells[ticket(fmt.Sprintf("run-%d", i), 0, 0).Ring] = make(chan struct{}, 1)
		}
		stop, err := b.Subscribe(t.Context(), subject.AllTimeouts, "", func(_ context.Context, n *bus.Note) {
			id, err := subject.ParseTimeout(n.Subject)
			if err != nil {
				t.Error(err)
			}
			select {
			case bells[id] <- struct{}{}:
			default: // doubled
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		runners := []*slot.Slots{slot.New(b), slot.New(b), slot.New(b)}
		var going, most atomic.Int32
		var group errgroup.Group
		for i := range runs {
			group.Go(func() error {
				s := runners[rand.IntN(len(runners))]
				tk := ticket(fmt.Sprintf("run-%d", i), uint64(i)+1, limit)
				granted, err := s.Acquire(t.Context(), tk)
				for err == nil && !granted {
					select {
					case <-bells[tk.Ring]:
					case <-t.Context().Done():
						return t.Context().Err()
					}
					granted, err = s.Rung(t.Context(), tk)
				}
				if err != nil {
					return err
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
		m, err := b.Last(t.Context(), "KV_slots", subject.SlotHolders(slot.Group("w", nil)))
		if err != nil || string(m.Data) != `{"holders":[]}` {
			t.Errorf("in the end: %s, %v", m.Data, err)
		}
	})
}
