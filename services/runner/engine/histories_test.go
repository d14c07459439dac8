package engine_test

import (
	"encoding/json"
	"flag"
	"testing"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// What random histories have in common: how a run is stored, and how it is carried on.

var histories = flag.Int("histories", 1000, "random histories to play")

// stored is a run's document as all see it.
type stored struct {
	doc []byte // nil: there is none
	rev int
}

func (s *stored) load(t *testing.T) *event.Run {
	t.Helper()
	if s.doc == nil {
		return nil
	}
	run := new(event.Run)
	if err := json.Unmarshal(s.doc, run); err != nil {
		t.Errorf("load: %v", err)
	}
	return run
}

// carried is a run as one activation of the runner has it, with what is still to be done.
type carried struct {
	run     *event.Run
	rev     int
	unsaved []engine.Event
	queue   []engine.Command
	ends    []engine.End
	flying  []engine.Act
}

func (c *carried) apply(t *testing.T, w engine.World, ev engine.Event) {
	t.Helper()
	run, commands, err := engine.Advance(w, c.run, ev)
	if err != nil {
		t.Errorf("%T: %v", ev, err)
		return
	}
	if run != c.run {
		c.unsaved = append(c.unsaved, ev)
		c.run = run
	}
	c.queue = append(c.queue, commands...)
}

// save stores the run and tells whether it did: who comes second takes what is stored, and applies to it what has happened here.
func (c *carried) save(t *testing.T, w engine.World, s *stored, again engine.Redelivered) bool {
	t.Helper()
	if c.rev == s.rev {
		data, err := json.Marshal(c.run)
		if err != nil {
			t.Errorf("save: %v", err)
		}
		s.doc, s.rev = data, s.rev+1
		c.rev, c.unsaved = s.rev, nil
		return true
	}
	events := c.unsaved
	if _, first := events[0].(engine.Requested); first {
		events = events[1:]
	}
	c.unsaved, c.queue = nil, nil
	c.run, c.rev = s.load(t), s.rev
	for _, ev := range events {
		c.apply(t, w, ev)
	}
	c.apply(t, w, again)
	return false
}

// earliest gives the wait whose time is over first.
func earliest(waits map[string]event.Wait) (next event.Wait) {
	for _, w := range waits {
		if next.ID == "" || w.Deadline.Before(next.Deadline) || w.Deadline.Equal(next.Deadline) && w.ID < next.ID {
			next = w
		}
	}
	return next
}
