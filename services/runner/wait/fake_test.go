package wait_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

// model is a model of the stream of waits: as much of JetStream as waits rely on.
type model struct {
	clock    time.Time // of the server; each publish takes a second
	messages []stored  // in order
	last     uint64
	before   func(m *bus.Message) error // called by Publish first
}

type stored struct {
	bus.Stored
	due    time.Time
	target string
}

var epoch = time.Now().Add(-time.Hour).Truncate(time.Second)

func newStream() *model { return &model{clock: epoch} }

func (s *model) Publish(_ context.Context, m *bus.Message) (bus.Ack, error) {
	if s.before != nil {
		if err := s.before(m); err != nil {
			return bus.Ack{}, err
		}
	}
	return s.store(m)
}

func (s *model) store(m *bus.Message) (bus.Ack, error) {
	if e := m.Expect; e != nil {
		on := e.Subject
		if on == "" {
			on = m.Subject
		}
		if l := s.find(on); l == nil && e.Seq != 0 || l != nil && l.Seq != e.Seq {
			return bus.Ack{}, bus.ErrConflict
		}
	}
	if m.Unschedule != "" {
		if u := s.find(m.Unschedule); u != nil && u.target == "" {
			return bus.Ack{}, errors.New("the message to be unscheduled is no schedule")
		}
	}
	s.clock = s.clock.Add(time.Second)
	s.last++
	n := stored{Stored: bus.Stored{Subject: m.Subject, Seq: s.last, Time: s.clock, Header: maps.Clone(m.Header), Data: slices.Clone(m.Data)}}
	if !m.ScheduleAt.IsZero() {
		n.due, n.target = m.ScheduleAt, m.ScheduleTarget
	}
	if m.Rollup || !m.ScheduleAt.IsZero() {
		s.purge(m.Subject)
	}
	if m.Unschedule != "" {
		s.purge(m.Unschedule)
	}
	s.messages = append(s.messages, n)
	return bus.Ack{Seq: s.last}, nil
}

func (s *model) purge(subj string) {
	s.messages = slices.DeleteFunc(s.messages, func(m stored) bool { return m.Subject == subj })
}

func (s *model) find(subj string) *stored {
	for i, m := range slices.Backward(s.messages) {
		if m.Subject == subj {
			return &s.messages[i]
		}
	}
	return nil
}

func (s *model) Last(_ context.Context, name, subj string) (*bus.Stored, error) {
	if name != subject.StreamWaits {
		return nil, fmt.Errorf("stream %s", name)
	}
	m := s.find(subj)
	if m == nil {
		return nil, fmt.Errorf("%s: %w", subj, bus.ErrNotFound)
	}
	return &m.Stored, nil
}

func (s *model) LastAfter(ctx context.Context, name, subj string, seen *bus.Stored) (*bus.Stored, error) {
	if seen.Seq > s.last {
		return nil, errors.New("asked for what comes after a message that is not stored")
	}
	return s.Last(ctx, name, subj)
}

func (s *model) Next(_ context.Context, _, subj string, from uint64) (*bus.Stored, error) {
	for _, m := range s.messages {
		if m.Subject == subj && m.Seq >= from {
			return &m.Stored, nil
		}
	}
	return nil, fmt.Errorf("%s from %d: %w", subj, from, bus.ErrNotFound)
}

func (s *model) KeepCallbacks() time.Duration { return 72 * time.Hour }

// fire publishes a scheduled message, as the server does when it is due.
func (s *model) fire(subj string) bool {
	m := s.find(subj)
	if m == nil || m.target == "" {
		return false
	}
	target, data := m.target, m.Data
	s.purge(subj)
	_, _ = s.store(&bus.Message{Subject: target, Data: data})
	return true
}

// callback stores a callback and gives it as a consumer would.
func (s *model) callback(id string, outcome event.Outcome) *event.Callback {
	_, _ = s.store(&bus.Message{Subject: subject.Callback(id), Header: bus.Header{subject.HeaderOutcome: string(outcome)}})
	cb, err := bus.DecodeCallback(&s.find(subject.Callback(id)).Stored)
	if err != nil {
		panic(err)
	}
	return cb
}

// waitOn gives the wait on an id's key, nil for none or a mark.
func (s *model) waitOn(id string) *event.Wait {
	m := s.find(subject.Wait(id))
	if m == nil || m.Header["KV-Operation"] != "" {
		return nil
	}
	var w event.Wait
	if err := json.Unmarshal(m.Data, &w); err != nil {
		panic(err)
	}
	return &w
}

// timers gives the subjects with a schedule.
func (s *model) timers() (on []string) {
	for _, m := range s.messages {
		if m.target != "" {
			on = append(on, m.Subject)
		}
	}
	return on
}

func ownWait(run string, attempt int) event.Wait {
	id := run + ".j"
	if attempt > 1 {
		id += fmt.Sprintf(".%d", attempt)
	}
	return event.Wait{ID: id, Run: run, Job: "j", Attempt: attempt, Since: epoch, Deadline: epoch.Add(time.Hour)}
}

func sharedWait(run string, attempt int) event.Wait {
	w := ownWait(run, attempt)
	w.ID = "task-7"
	return w
}

func park(t *testing.T, w *wait.Waits, ew event.Wait, o wait.Options) []*event.Callback {
	t.Helper()
	cbs, err := w.Park(t.Context(), ew, o)
	if err != nil {
		t.Fatalf("park %+v: %v", ew, err)
	}
	return cbs
}

func look(t *testing.T, w *wait.Waits, cb *event.Callback) wait.Found {
	t.Helper()
	f, err := w.Look(t.Context(), cb)
	if err != nil {
		t.Fatalf("look for %s: %v", cb.ID, err)
	}
	return f
}

func end(t *testing.T, w *wait.Waits, ew event.Wait, used uint64) {
	t.Helper()
	if err := w.End(t.Context(), ew, used); err != nil {
		t.Fatalf("end %+v: %v", ew, err)
	}
}
