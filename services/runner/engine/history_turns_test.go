package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/slot"
)

// TestHistoriesOfTurns plays random histories of several runs that share limits by a key: requests out of order, runs that
// fail, are cancelled and tried again, messages delivered twice, crashes after every step, also within the steps of
// slots. Whatever happens, never more of a key's runs go than the limit, and in the end every run has ended. Where only runners
// crash, what comes again makes it good at once, so that no run is queued beside a free turn.
func TestHistoriesOfTurns(t *testing.T) {
	for seed := range uint64(max(*histories/10, 1)) {
		synctest.Test(t, func(t *testing.T) {
			h := newTurns(t, seed)
			h.play()
			if t.Failed() {
				t.Fatalf("history %d:\n%s", seed, h.log)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// turns is a model of everything around the engine and the slots; slots are the genuine ones, over a stream in memory.
type turns struct {
	t      *testing.T
	rng    *rand.Rand
	w      engine.World
	limit  int
	log    []byte
	late   bool // messages come again while they are being worked on
	meddle bool // runs are cancelled, and tried again

	seq         uint64
	stream      []*bus.Stored               // of slots
	removed     map[*bus.Stored]*bus.Stored // by what is there instead
	runs        map[string]*stored
	ids         []string
	messages    []*turnMessage
	active      []*turnActivation
	waits       map[string]event.Wait
	outstanding []event.Wait // waits whose callback will come
	crashes     int
	interfered  int // cancels and retries
	// orphaned: a runner has crashed while another has acknowledged its message. A turn that it has taken right then is left over
	// until who is queued looks.
	orphaned bool
}

type turnMessage struct {
	run, trigger string
	request      bool
	ev           func() engine.Event
	held         int
}

type turnActivation struct {
	carried

	m *turnMessage

	resume func() (struct{}, bool) // a call of slots that is under way; nil: none
	crash  func()
	then   func() // what follows from its end
}

func newTurns(t *testing.T, seed uint64) *turns {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 2))
	h := &turns{t: t, rng: rng, limit: 1 + rng.IntN(2), late: seed%3 == 0, meddle: seed%2 == 0, runs: map[string]*stored{}, removed: map[*bus.Stored]*bus.Stored{}, waits: map[string]event.Wait{}}
	h.w = world(component(0), job("a"))
	h.w.Document.Workflows[0].Concurrency = &compose.Concurrency{Limit: h.limit, Key: template(t, "${input.k}")}
	for i := range 2 + rng.IntN(6) {
		id := fmt.Sprintf("r%d", i)
		h.ids = append(h.ids, id)
		h.runs[id] = &stored{}
		h.seq++
		req := event.RunRequest{
			RunID: id, Workflow: "w", Input: json.RawMessage(fmt.Sprintf(`{"k":%d}`, rng.IntN(2))), Seq: h.seq, RequestedAt: time.Now(),
		}
		trigger := fmt.Sprintf("request:%d", h.seq)
		h.messages = append(h.messages, &turnMessage{run: id, trigger: trigger, request: true, ev: func() engine.Event {
			return engine.Requested{Request: req, Definition: "d", Trigger: trigger, At: time.Now()}
		}})
	}
	return h
}

func (h *turns) note(format string, args ...any) { h.log = fmt.Appendf(h.log, format+"\n", args...) }

func (h *turns) load(id string) *event.Run { return h.runs[id].load(h.t) }

func (h *turns) play() {
	defer func() {
		for _, a := range slices.Clone(h.active) { // of a history that has failed
			h.drop(a)
		}
	}()
	for range 20000 {
		<-time.After(time.Duration(h.rng.IntN(20)) * time.Millisecond)
		var moves []func()
		for _, m := range h.messages {
			if m.held == 0 || h.late && m.held < 2 && h.rng.IntN(8) == 0 {
				moves = append(moves, func() { h.deliver(m) })
			}
		}
		for _, a := range h.active {
			moves = append(moves, func() { h.step(a) })
		}
		if len(h.outstanding) > 0 {
			moves = append(moves, h.callBack)
		}
		if len(h.active) > 0 && h.crashes < 8 && h.rng.IntN(4) == 0 {
			moves = append(moves, h.crash)
		}
		if h.meddle && h.interfered < 4 && h.rng.IntN(10) == 0 {
			moves = append(moves, h.interfere)
		}
		if len(moves) == 0 {
			h.quiet()
			if len(h.waits) == 0 || h.t.Failed() {
				h.finish()
				return
			}
			h.fire()
			continue
		}
		moves[h.rng.IntN(len(moves))]()
		if h.t.Failed() {
			return
		}
	}
	h.t.Errorf("the history does not end")
}

func (h *turns) publish(run, kind string, ev func(seq uint64, trigger string) engine.Event) {
	h.seq++
	seq, trigger := h.seq, fmt.Sprintf("%s:%d", kind, h.seq)
	if kind == engine.CancelTrigger {
		trigger = kind
	}
	h.note("%s for %s", trigger, run)
	h.messages = append(h.messages, &turnMessage{run: run, trigger: trigger, ev: func() engine.Event { return ev(seq, trigger) }})
}

func (h *turns) expire(id, run string, rung bool) {
	h.publish(run, "timeout", func(seq uint64, trigger string) engine.Event {
		return engine.Expired{ID: id, Seq: seq, Rung: rung, Trigger: trigger, At: time.Now()}
	})
}

func (h *turns) callBack() {
	i := h.rng.IntN(len(h.outstanding))
	w := h.outstanding[i]
	h.outstanding = slices.Delete(h.outstanding, i, i+1)
	outcome := event.Succeeded
	if h.rng.IntN(3) == 0 {
		outcome = event.Failed
	}
	h.publish(w.Run, "callback", func(seq uint64, trigger string) engine.Event {
		return engine.CalledBack{Callback: event.Callback{ID: w.ID, Seq: seq, Outcome: outcome}, Trigger: trigger, At: time.Now()}
	})
}

// interfere cancels a run, or tries one again.
func (h *turns) interfere() {
	h.interfered++
	id := h.ids[h.rng.IntN(len(h.ids))]
	run := h.load(id)
	switch asked := time.Now(); {
	case run == nil:
	case !run.Status.Ended():
		h.publish(id, engine.CancelTrigger, func(uint64, string) engine.Event { return engine.Cancelled{Asked: asked, At: time.Now()} })
	default:
		h.publish(id, "request", func(seq uint64, trigger string) engine.Event {
			return engine.Retried{Request: seq, Trigger: trigger, At: time.Now()}
		})
	}
}

// fire lets time pass until the next timer's is over.
func (h *turns) fire() {
	next := earliest(h.waits)
	<-time.After(time.Until(next.Deadline))
	delete(h.waits, next.ID)
	h.expire(next.ID, next.Run, false)
}

func (h *turns) crash() {
	h.crashes++
	for _, a := range slices.Clone(h.active) {
		if h.rng.IntN(2) == 0 {
			h.orphaned = h.orphaned || !slices.Contains(h.messages, a.m)
			h.note("%s of %s crashes", a.m.trigger, a.m.run)
			h.drop(a)
		}
	}
}

func (h *turns) drop(a *turnActivation) {
	if a.crash != nil {
		a.crash()
	}
	a.m.held--
	h.active = slices.DeleteFunc(h.active, func(b *turnActivation) bool { return a == b })
}

func (h *turns) deliver(m *turnMessage) {
	m.held++
	a := &turnActivation{m: m, carried: carried{run: h.load(m.run), rev: h.runs[m.run].rev}}
	h.active = append(h.active, a)
	switch {
	case m.request && a.run != nil:
		h.apply(a, engine.Redelivered{Trigger: m.trigger, At: time.Now()})
	case m.request || a.run != nil:
		h.apply(a, m.ev())
	}
}

func (h *turns) apply(a *turnActivation, ev engine.Event) { a.apply(h.t, h.w, ev) }

func (h *turns) step(a *turnActivation) {
	switch {
	case a.resume != nil:
		if _, more := a.resume(); !more {
			a.resume, a.crash = nil, nil
			a.then()
		}
	case len(a.queue) > 0 && len(a.unsaved) > 0:
		h.save(a)
	case len(a.queue) > 0:
		c := a.queue[0]
		a.queue = a.queue[1:]
		if engine.Wanted(a.run, c) {
			h.command(a, c)
		}
	case len(a.flying) > 0:
		act := a.flying[0]
		a.flying = a.flying[1:]
		ev := engine.Acted{Job: act.Job.ID, Attempt: act.Attempt, Trigger: a.m.trigger, At: time.Now(), Input: json.RawMessage(`{}`)}
		switch h.rng.IntN(3) {
		case 0:
			ev.Err = &engine.Error{Code: "http_500", Message: "no"}
		case 1:
			ev.Wait = &engine.Wait{ID: act.ID}
		}
		h.apply(a, ev)
	case len(a.unsaved) > 0:
		h.save(a)
	case len(a.ends) > 0:
		delete(h.waits, a.ends[0].Wait.ID)
		a.ends = a.ends[1:]
	default:
		h.messages = slices.DeleteFunc(h.messages, func(m *turnMessage) bool { return m == a.m })
		h.drop(a)
	}
}

func (h *turns) command(a *turnActivation, c engine.Command) {
	switch c := c.(type) {
	case engine.Act:
		a.flying = append(a.flying, c)
	case engine.Park:
		if _, stands := h.waits[c.Wait.ID]; !stands {
			h.outstanding = append(h.outstanding, c.Wait)
		}
		h.waits[c.Wait.ID] = c.Wait
	case engine.Sleep:
		h.waits[c.Wait.ID] = c.Wait
	case engine.End:
		a.ends = append(a.ends, c)
	case engine.Acquire:
		var granted bool
		h.call(a, func(ctx context.Context, s *slot.Slots) (err error) {
			if c.Rung {
				granted, err = s.Rung(ctx, ticketOf(a, c.Turn, c.Limit))
				return err
			}
			granted, err = s.Acquire(ctx, ticketOf(a, c.Turn, c.Limit))
			if err == nil && !granted && c.Check {
				err = s.Check(ctx, slot.Group("w", c.Turn.Key), h.holds)
			}
			return err
		}, func() {
			if granted {
				h.apply(a, engine.Granted{Turn: c.Turn, Trigger: a.m.trigger, At: time.Now()})
			} else {
				h.apply(a, engine.NotYet{Trigger: a.m.trigger, At: time.Now()})
			}
		})
	case engine.Release:
		h.call(a, func(ctx context.Context, s *slot.Slots) error { return s.Release(ctx, ticketOf(a, c.Turn, 0)) }, func() {})
	}
}

func ticketOf(a *turnActivation, turn event.Turn, limit int) slot.Ticket {
	return slot.Ticket{
		Group: slot.Group("w", turn.Key), Run: a.m.run, Number: turn.Number, Order: turn.Request, Limit: limit,
		Ring: engine.TurnID(a.m.run, turn.Number),
	}
}

// holds tells whether a run still has the turn that it was given, as the runner does.
func (h *turns) holds(_ context.Context, id string, number int) (bool, error) {
	run := h.load(id)
	return run != nil && !run.Status.Ended() && run.Turn != nil && run.Turn.Number == number, nil
}

// call begins a call of slots, as of a runner of its own: it goes on by one operation on the stream at a time, and ends
// before any of them in a crash.
func (h *turns) call(a *turnActivation, f func(context.Context, *slot.Slots) error, then func()) {
	a.then = then
	a.resume, a.crash = iter.Pull(func(yield func(struct{}) bool) {
		s := slot.New(&slotStream{h: h, before: func() bool { return yield(struct{}{}) }})
		if err := f(context.Background(), s); err != nil && !errors.Is(err, errCrashed) {
			h.t.Errorf("%s of %s: %v", a.m.trigger, a.m.run, err)
		}
	})
}

func (h *turns) save(a *turnActivation) {
	if a.save(h.t, h.w, h.runs[a.m.run], engine.Redelivered{Trigger: a.m.trigger, At: time.Now()}) {
		h.note("%s saves %s: %s, queued %v", a.m.trigger, a.m.run, a.run.Status, a.run.Queued())
		h.count()
	}
}

// going counts the runs of each key that have their turn, and queued those that wait for it.
func (h *turns) going() (going, queued map[string]int) {
	going, queued = map[string]int{}, map[string]int{}
	for _, id := range h.ids {
		switch run := h.load(id); {
		case run == nil || run.Status.Ended():
		case run.Queued():
			queued[string(run.Turn.Key)]++
		default:
			going[string(run.Turn.Key)]++
		}
	}
	return going, queued
}

func (h *turns) count() {
	going, _ := h.going()
	for key, n := range going {
		if n > h.limit {
			h.t.Errorf("%d runs of %s go, and the limit is %d", n, key, h.limit)
		}
	}
}

// quiet checks that nobody is queued beside a free turn when all messages are done.
func (h *turns) quiet() {
	if h.orphaned {
		return
	}
	going, queued := h.going()
	for key, n := range queued {
		if going[key] < h.limit {
			h.t.Errorf("%d runs of %s are queued, and only %d go", n, key, going[key])
		}
	}
}

func (h *turns) finish() {
	for _, id := range h.ids {
		run := h.load(id)
		if run == nil || !run.Status.Ended() || run.Error != nil && run.Error.Code == engine.CodeTimeout {
			h.t.Errorf("nothing is left to do, and the run %s is %+v", id, run)
		}
	}
	for _, m := range h.stream {
		if len(m.Data) > 0 && (!h.orphaned || !strings.HasPrefix(string(m.Data), `{"holders"`)) && strings.Contains(string(m.Data), `"run"`) {
			h.t.Errorf("left in the stream: %s %s", m.Subject, m.Data)
		}
	}
}

var errCrashed = errors.New("crashed")

// slotStream is what slots need of NATS, in memory.
type slotStream struct {
	h      *turns
	before func() bool // what may happen before each operation; false: a crash
}

func (s *slotStream) last(subj string) *bus.Stored {
	s.h.stream = slices.DeleteFunc(s.h.stream, func(m *bus.Stored) bool { return m.Header["gone"] != "" && m.Header["gone"] < stamp(0) })
	for _, m := range s.h.stream {
		if m.Subject == subj {
			return m
		}
	}
	return nil
}

// stamp is a moment from now as text that sorts by time.
func stamp(d time.Duration) string {
	return time.Now().Add(d).UTC().Format("2006-01-02T15:04:05.000000000")
}

func (s *slotStream) Publish(_ context.Context, m *bus.Message) (bus.Ack, error) {
	if !s.before() {
		return bus.Ack{}, errCrashed
	}
	if id, ok := strings.CutPrefix(m.Subject, "timeout."); ok {
		var w event.Wait
		if err := json.Unmarshal(m.Data, &w); err != nil {
			return bus.Ack{}, fmt.Errorf("the ring for %s: %w", id, err)
		}
		delete(s.h.waits, w.ID) // as every timeout does
		s.h.expire(w.ID, w.Run, true)
		return bus.Ack{}, nil
	}
	old := s.last(m.Subject)
	if m.Expect != nil && (old == nil) != (m.Expect.Seq == 0) || m.Expect != nil && old != nil && old.Seq != m.Expect.Seq {
		return bus.Ack{}, bus.ErrConflict
	}
	s.h.stream = slices.DeleteFunc(s.h.stream, func(o *bus.Stored) bool { return o == old })
	s.h.seq++
	stored := &bus.Stored{Subject: m.Subject, Seq: s.h.seq, Data: m.Data, Header: bus.Header{}}
	if op := m.Header["KV-Operation"]; op != "" {
		stored.Header["KV-Operation"] = op
		s.h.removed[stored] = old
	}
	if m.TTL > 0 {
		stored.Header["gone"] = stamp(m.TTL)
	}
	s.h.stream = append(s.h.stream, stored)
	return bus.Ack{Seq: stored.Seq}, nil
}

func (s *slotStream) Last(_ context.Context, _, subj string) (*bus.Stored, error) {
	if !s.before() {
		return nil, errCrashed
	}
	if m := s.last(subj); m != nil {
		return m, nil
	}
	return nil, bus.ErrNotFound
}

// NextMany reads from a copy that may not know what has been removed.
func (s *slotStream) NextMany(_ context.Context, _, filter string, from uint64, n int) ([]*bus.Stored, error) {
	if !s.before() {
		return nil, errCrashed
	}
	_ = s.last("")
	var many []*bus.Stored
	for _, m := range s.h.stream {
		if m.Seq >= from && len(many) < n && strings.HasPrefix(m.Subject, strings.TrimSuffix(filter, ">")) {
			if was := s.h.removed[m]; was != nil && s.h.rng.IntN(4) == 0 {
				m = was
			}
			many = append(many, m)
		}
	}
	return many, nil
}
