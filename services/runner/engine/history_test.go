package engine_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// TestHistories plays random histories: callbacks early, doubled, out of order and late, messages delivered again, two
// activations of one run at once, crashes after every step. Whatever happens, the run ends, each wait is resumed
// once, what is recorded stays, and nothing is left over.
func TestHistories(t *testing.T) {
	for seed := range uint64(*histories) {
		h := newHistory(t, seed)
		h.play()
		if t.Failed() {
			t.Fatalf("history %d:\n%s", seed, h.log)
		}
	}
}

// history is a model of everything around the engine: the stored document, the messages, the waits, an outside service.
type history struct {
	t    *testing.T
	rng  *rand.Rand
	w    engine.World
	log  []byte
	now  time.Time
	seq  uint64
	late bool // messages come again while they are being worked on

	stored      stored
	messages    []*message
	waits       map[string]event.Wait
	used        map[string]uint64
	callbacks   map[string][]event.Callback
	outstanding []string // callbacks that the outside service will send
	activations []*activation
	asked       map[string]int // requests by invocation
	crashes     int
}

type message struct {
	ev         func() engine.Event // with its trigger
	trigger    string
	run        bool // the request for the run
	callback   *event.Callback
	deliveries int
	held       int
}

func newHistory(t *testing.T, seed uint64) *history {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	h := &history{
		t: t, rng: rng, now: t0, late: seed%3 == 0,
		waits: map[string]event.Wait{}, used: map[string]uint64{}, callbacks: map[string][]event.Callback{}, asked: map[string]int{},
	}
	var jobs []*compose.Job
	names := []string{"a", "b", "c", "x"}[:1+rng.IntN(4)]
	for i, id := range names {
		j := job(id)
		for _, before := range names[:i] {
			if rng.IntN(2) == 0 {
				j.Needs = append(j.Needs, []string{before})
			}
		}
		j.Retry = compose.Retry{MaxAttempts: 1 + rng.IntN(3), Delay: time.Duration(rng.IntN(2)) * time.Second, Backoff: "fixed"}
		j.OnError.Ignore = rng.IntN(4) == 0
		jobs = append(jobs, j)
	}
	h.w = world(component(time.Minute), jobs...)
	h.seq++
	req := requested(h.now)
	req.Request.Seq, req.Trigger = h.seq, "request:1"
	h.messages = append(h.messages, &message{ev: func() engine.Event { req.At = h.now; return req }, trigger: req.Trigger, run: true})
	return h
}

func (h *history) note(format string, args ...any) {
	h.log = fmt.Appendf(h.log, format+"\n", args...)
}

func (h *history) play() {
	for range 20000 {
		h.now = h.now.Add(time.Duration(h.rng.IntN(20)) * time.Millisecond)
		var moves []func()
		for _, m := range h.messages {
			if m.held == 0 || h.late && m.held < 2 && h.rng.IntN(8) == 0 {
				moves = append(moves, func() { h.deliver(m) })
			}
		}
		for _, a := range h.activations {
			moves = append(moves, func() { h.step(a) })
		}
		if len(h.outstanding) > 0 {
			moves = append(moves, h.callBack)
		}
		if len(h.activations) > 0 && h.crashes < 8 && h.rng.IntN(4) == 0 {
			moves = append(moves, h.crash)
		}
		if len(moves) == 0 {
			if len(h.waits) == 0 {
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

// callBack is the outside service: it sends a callback, sometimes twice, sometimes with progress before.
func (h *history) callBack() {
	i := h.rng.IntN(len(h.outstanding))
	id := h.outstanding[i]
	h.outstanding = slices.Delete(h.outstanding, i, i+1)
	h.seq++
	cb := event.Callback{ID: id, Seq: h.seq, Outcome: event.Succeeded, Result: json.RawMessage(fmt.Sprintf(`{"seq":%d}`, h.seq)), StoredAt: h.now}
	switch h.rng.IntN(6) {
	case 0:
		cb.Outcome = event.Failed
	case 1:
		cb.Outcome = event.Progress
		h.outstanding = append(h.outstanding, id)
	}
	if h.rng.IntN(5) == 0 {
		h.outstanding = append(h.outstanding, id) // once more
	}
	h.callbacks[id] = append(h.callbacks[id], cb)
	trigger := fmt.Sprintf("callback:%d", cb.Seq)
	h.note("%s comes: %s %s", trigger, id, cb.Outcome)
	h.messages = append(h.messages, &message{
		callback: &cb, trigger: trigger,
		ev: func() engine.Event { return engine.CalledBack{Callback: cb, Trigger: trigger, At: h.now} },
	})
}

// fire lets time pass until the next wait's is over.
func (h *history) fire() {
	next := earliest(h.waits)
	if next.Deadline.After(h.now) {
		h.now = next.Deadline
	}
	delete(h.waits, next.ID)
	h.seq++
	seq, trigger := h.seq, fmt.Sprintf("timeout:%d", h.seq)
	h.note("%s: %s", trigger, next.ID)
	h.messages = append(h.messages, &message{
		trigger: trigger,
		ev:      func() engine.Event { return engine.Expired{ID: next.ID, Seq: seq, Trigger: trigger, At: h.now} },
	})
}

func (h *history) crash() {
	h.crashes++
	if h.rng.IntN(2) == 0 {
		h.note("everything crashes")
		for _, a := range h.activations {
			a.message.held = 0
		}
		h.activations = nil
		return
	}
	a := h.activations[h.rng.IntN(len(h.activations))]
	h.note("%s crashes", a.message.trigger)
	h.drop(a)
}

func (h *history) drop(a *activation) {
	a.message.held--
	h.activations = slices.DeleteFunc(h.activations, func(b *activation) bool { return a == b })
}

func (h *history) ack(a *activation) {
	h.note("%s is acknowledged", a.message.trigger)
	h.messages = slices.DeleteFunc(h.messages, func(m *message) bool { return m == a.message })
	h.drop(a)
}

// deliver begins an activation, as the runner does.
func (h *history) deliver(m *message) {
	m.held++
	m.deliveries++
	a := &activation{message: m, acting: map[string]bool{}}
	h.activations = append(h.activations, a)
	h.note("%s is delivered", m.trigger)
	if m.run && h.stored.doc != nil {
		a.run, a.rev = h.stored.load(h.t), h.stored.rev
		h.apply(a, engine.Redelivered{Trigger: m.trigger, At: h.now})
		return
	}
	if m.callback != nil {
		if _, stands := h.waits[m.callback.ID]; !stands && (m.deliveries == 1 || h.stored.doc == nil) {
			h.ack(a) // nobody waits: whoever makes the wait will find it
			return
		}
	}
	a.run, a.rev = h.stored.load(h.t), h.stored.rev
	h.apply(a, m.ev())
}

// activation is the model of the runner's.
type activation struct {
	carried

	message *message
	acting  map[string]bool
}

func (h *history) apply(a *activation, ev engine.Event) { a.apply(h.t, h.w, ev) }

func (h *history) step(a *activation) {
	switch {
	case len(a.queue) > 0 && len(a.unsaved) > 0 && a.rev+len(a.unsaved) != 1:
		h.save(a)
	case len(a.queue) > 0:
		c := a.queue[0]
		a.queue = a.queue[1:]
		h.command(a, c)
	case len(a.flying) > 0:
		h.respond(a)
	case len(a.unsaved) > 0:
		h.save(a)
	case len(a.ends) > 0:
		e := a.ends[0]
		a.ends = a.ends[1:]
		delete(h.waits, e.Wait.ID)
		h.used[e.Wait.ID] = max(h.used[e.Wait.ID], e.Used)
	default:
		h.ack(a)
	}
}

func (h *history) respond(a *activation) {
	i := h.rng.IntN(len(a.flying))
	act := a.flying[i]
	a.flying = slices.Delete(a.flying, i, i+1)
	ev := engine.Acted{Job: act.Job.ID, Attempt: act.Attempt, Trigger: a.message.trigger, At: h.now, Input: json.RawMessage(`{}`), Requests: []event.Request{{Status: 202}}}
	if h.rng.IntN(6) == 0 {
		ev.Err = &engine.Error{Code: "http_500", Message: "no"}
	} else {
		ev.Output, ev.Wait = json.RawMessage(`{"accepted":true}`), &engine.Wait{ID: act.ID}
	}
	h.apply(a, ev)
}

func (h *history) command(a *activation, c engine.Command) {
	if !engine.Wanted(a.run, c) {
		return
	}
	switch c := c.(type) {
	case engine.Act:
		if a.acting[c.ID] {
			return
		}
		a.acting[c.ID] = true
		a.flying = append(a.flying, c)
		h.asked[c.ID]++
		h.note("%s asks: %s", a.message.trigger, c.ID)
		h.unrecorded(c)
		if h.asked[c.ID] == 1 && h.rng.IntN(10) > 0 { // the outside service knows the idempotency key
			h.outstanding = append(h.outstanding, c.ID)
		}
	case engine.Park:
		h.park(a, c)
	case engine.Sleep:
		h.waits[c.Wait.ID] = c.Wait
	case engine.End:
		a.ends = append(a.ends, c)
	}
}

// unrecorded checks that no request is made whose response is recorded already.
func (h *history) unrecorded(c engine.Act) {
	run := h.stored.load(h.t)
	if run == nil || h.late {
		return // a message that comes again too early may repeat what was recorded a moment ago
	}
	job := run.Jobs[c.Job.ID]
	if job == nil || len(job.Attempts) < c.Attempt {
		return
	}
	if len(job.Attempts[c.Attempt-1].Requests) > 0 {
		h.t.Errorf("%s is asked for again, though its response is recorded", c.ID)
	}
}

// park is the rule of the wait: it stands, or the callbacks that count are there already.
func (h *history) park(a *activation, c engine.Park) {
	var there []event.Callback
	for _, cb := range h.callbacks[c.Wait.ID] {
		if cb.Seq > max(h.used[c.Wait.ID], c.Wait.Used) && !cb.StoredAt.Before(c.NotBefore) {
			there = append(there, cb)
		}
	}
	if len(there) == 0 {
		h.waits[c.Wait.ID] = c.Wait
		h.note("%s parks %s", a.message.trigger, c.Wait.ID)
		return
	}
	for _, cb := range there {
		h.note("%s finds callback %d", a.message.trigger, cb.Seq)
		h.apply(a, engine.CalledBack{Callback: cb, Trigger: a.message.trigger, At: h.now})
		c.Wait.Used = cb.Seq
	}
	a.queue = append(a.queue, c) // still wanted when there was only progress
}

func (h *history) save(a *activation) {
	before := h.stored.load(h.t)
	if !a.save(h.t, h.w, &h.stored, engine.Redelivered{Trigger: a.message.trigger, At: h.now}) {
		h.note("%s comes second", a.message.trigger)
		return
	}
	h.note("%s saves %d: %s", a.message.trigger, h.stored.rev, states(a.run))
	h.check(before, h.stored.load(h.t))
}

// check compares a document with the one before: what was decided stays.
func (h *history) check(before, after *event.Run) {
	if before == nil {
		return
	}
	if before.Status.Ended() {
		h.t.Errorf("an ended run is saved again")
	}
	for id, was := range before.Jobs {
		is := after.Jobs[id]
		if was.Status.Ended() && (is.Status != was.Status || string(is.Output) != string(was.Output)) {
			h.t.Errorf("job %s was %s with %s and is %s with %s", id, was.Status, was.Output, is.Status, is.Output)
		}
		if len(is.Attempts) < len(was.Attempts) {
			h.t.Errorf("job %s loses an attempt", id)
		}
	}
}

// finish checks the end: the run has ended, every success comes of exactly one callback, and nothing is left.
func (h *history) finish() {
	run := h.stored.load(h.t)
	if run == nil || !run.Status.Ended() {
		h.t.Errorf("nothing is left to do, and the run is %+v", run)
		return
	}
	for id, job := range run.Jobs {
		resumed := 0
		for _, at := range job.Attempts {
			if at.Wait == nil || at.Wait.ResumedBy == nil || at.Wait.ResumedBy.Outcome != event.Succeeded {
				continue
			}
			resumed++
			if want := fmt.Sprintf(`{"accepted":true,"seq":%d}`, at.Wait.ResumedBy.Seq); string(job.Output) != want && string(job.Output) != fmt.Sprintf(`{"seq":%d}`, at.Wait.ResumedBy.Seq) {
				h.t.Errorf("job %s: resumed by %d, but its output is %s", id, at.Wait.ResumedBy.Seq, job.Output)
			}
		}
		if job.Status == event.StatusCompleted && job.Error == nil && resumed != 1 {
			h.t.Errorf("job %s completed, resumed %d times", id, resumed)
		}
	}
	if run.Status == event.StatusCompleted {
		for _, def := range h.w.Document.Workflows[0].Jobs {
			if job := run.Jobs[def.ID]; job == nil || job.Status != event.StatusCompleted {
				h.t.Errorf("the run completed without job %s", def.ID)
			}
		}
	}
}
