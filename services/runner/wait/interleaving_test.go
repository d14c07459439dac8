package wait_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

var histories = flag.Int("waits.histories", 3000, "random histories in TestInterleavings")

// TestInterleavings plays runners against a replicated stream, one call at a time in random order. Handlers crash between
// any two calls and their messages come again, also while the first handler still lives; answers get lost; a leader that
// is none any more answers reads. In the end every run has gone on exactly once, by a callback of its own.
func TestInterleavings(t *testing.T) {
	for seed := range uint64(*histories) {
		for _, shared := range []bool{false, true} {
			w := newWorld(seed, shared)
			if err := w.play(); err != nil {
				t.Fatalf("seed %d, shared %v: %v\n%s", seed, shared, err, w.history())
			}
		}
	}
}

// document is what the engine keeps of a run. Saving it is a compare-and-swap.
type document struct {
	revision int
	waiting  bool
	used     uint64 // the last callback taken in
	resumed  int    // how often it went on
	by       uint64
}

type world struct {
	rng    *rand.Rand
	s      *model
	states []*model // the stream after each publish: what a lagging replica may answer from
	docs   map[string]*document
	actors []*actor
	crash  int // how many crashes and lost answers are left
	log    []string
	shared bool
	fires  bool     // the first run's time may be over
	late   []func() // what begins when a run has gone on
}

// actor is a handler of one message, or whoever sends one. It runs until its next call.
type actor struct {
	name    string
	resume  func() (struct{}, bool)
	kill    func()
	again   func() // the same message comes again
	succeed bool
}

type killed struct{}

func newWorld(seed uint64, shared bool) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), s: newStream(), docs: map[string]*document{}, shared: shared}
	w.crash = w.rng.IntN(10)
	w.fires = w.rng.IntN(2) == 0
	w.snapshot()
	return w
}

func (w *world) snapshot() {
	c := *w.s
	c.messages = append([]stored(nil), w.s.messages...)
	w.states = append(w.states, &c)
}

func (w *world) note(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func (w *world) history() string { return strings.Join(w.log, "\n") }

// spawn begins a handler. When it fails or is killed, its message comes again.
func (w *world) spawn(name string, f func(v *view) error) {
	a := &actor{name: name, again: func() { w.spawn(name, f) }}
	a.resume, a.kill = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if r := recover(); r != nil {
				if _, ok := r.(killed); !ok {
					panic(r)
				}
			}
		}()
		err := f(&view{w: w, name: name, yield: yield})
		a.succeed = err == nil
		w.note("%s: ends, %v", name, err)
	})
	w.actors = append(w.actors, a)
}

func (w *world) play() error {
	runs := 1
	if w.shared {
		runs = 2
	}
	w.begin(1, runs)
	for steps := 0; len(w.actors) > 0; steps++ {
		if steps > 20000 {
			return errors.New("does not come to an end")
		}
		i := w.rng.IntN(len(w.actors))
		a := w.actors[i]
		switch {
		case w.crash > 0 && w.rng.IntN(40) == 0: // it dies, and its message comes again
			w.crash--
			w.note("%s: crashes", a.name)
			a.kill()
			w.remove(i)
			a.again()
			continue
		case w.crash > 0 && w.rng.IntN(60) == 0: // its message comes again although it lives
			w.crash--
			w.note("%s: comes again", a.name)
			a.again()
		}
		if _, more := a.resume(); !more {
			w.remove(i)
			if !a.succeed {
				a.again()
			}
		}
	}
	used := map[uint64]string{}
	for run, d := range w.docs {
		if d.resumed != 1 {
			return fmt.Errorf("%s went on %d times; waits: %v", run, d.resumed, w.s.waitOn(w.wait(run).ID))
		}
		if other := used[d.by]; other != "" && d.by != 0 {
			return fmt.Errorf("callback %d carried on %s and %s", d.by, run, other)
		}
		used[d.by] = run
	}
	if ew := w.s.waitOn(w.wait("r1").ID); ew != nil && !w.fires { // after a timeout a zombie's may stand
		return fmt.Errorf("%+v still stands", ew)
	}
	if len(w.docs) != runs {
		return fmt.Errorf("%d of %d runs are there", len(w.docs), runs)
	}
	return nil
}

func (w *world) remove(i int) {
	w.actors = append(w.actors[:i], w.actors[i+1:]...)
}

func (w *world) wait(run string) event.Wait {
	if w.shared {
		return sharedWait(run, 1)
	}
	return ownWait(run, 1)
}

// begin asks for run number n of so many, and the outside world sends its callbacks: perhaps progress, then the result.
// Of a shared id the next run begins when this one has gone on.
func (w *world) begin(n, of int) {
	run := fmt.Sprintf("r%d", n)
	requested := w.s.clock
	if n < of {
		w.late = append(w.late, func() { w.begin(n+1, of) })
	} else {
		w.late = append(w.late, nil)
	}
	w.spawn("request "+run, func(v *view) error { return w.request(v, run, requested) })
	if n == 1 && w.fires {
		w.spawn("deadline "+run, w.expire)
	}
	progress := w.rng.IntN(3)
	w.spawn("outside "+run, func(v *view) error {
		v.reliable = true
		v.step()
		for range progress {
			w.send(run, event.Progress)
			v.step()
		}
		w.send(run, event.Succeeded)
		return nil
	})
}

// send stores a callback; it is delivered at least once from then on.
func (w *world) send(run string, outcome event.Outcome) {
	cb := w.s.callback(w.wait(run).ID, outcome)
	w.snapshot()
	w.note("outside: %s callback %d", outcome, cb.Seq)
	w.spawn(fmt.Sprintf("callback %d", cb.Seq), func(v *view) error { return w.deliver(v, cb) })
}

// expire lets the first run's deadline pass, if its timer is set by then: the server gathers what is due, and publishes it
// some time later, whatever has been published meanwhile.
func (w *world) expire(v *view) error {
	v.reliable = true
	for range w.rng.IntN(30) {
		v.step()
	}
	run := "r1"
	for _, on := range w.s.timers() {
		m := w.s.find(on).Stored
		if ew := w.s.waitOn(w.wait(run).ID); ew == nil || ew.Run != run {
			continue
		}
		v.step()
		w.s.purge(on)
		_, _ = w.s.store(&bus.Message{Subject: "timeout", Data: m.Data})
		w.snapshot()
		w.note("server: %s fires", on)
		w.spawn("timeout", func(v *view) error { return w.timeout(v, run) })
		return nil
	}
	return nil
}

// timeout is the runner's handler of a timeout.
func (w *world) timeout(v *view, run string) error {
	for {
		v.step()
		d := *w.docs[run]
		if !d.waiting {
			return wait.New(v).End(context.Background(), w.wait(run), d.used)
		}
		d.waiting = false
		d.resumed++
		d.revision++
		v.step()
		w.save(v, run, d, "its timeout")
	}
}

// save is a compare-and-swap.
func (w *world) save(v *view, run string, d document, what string) {
	if w.docs[run].revision != d.revision-1 {
		return
	}
	w.docs[run] = &d
	w.note("%s: %s takes %s", v.name, run, what)
	if !d.waiting && len(w.late) > 0 && w.late[len(w.late)-1] != nil {
		w.late[len(w.late)-1]()
	}
}

// request is the runner's handler of a run request.
func (w *world) request(v *view, run string, requested time.Time) error {
	v.step()
	if w.docs[run] == nil { // the HTTP call is behind us
		w.docs[run] = &document{waiting: true}
	}
	waits := wait.New(v)
	ew := w.wait(run)
	for {
		v.step()
		d := *w.docs[run]
		if !d.waiting {
			return waits.End(context.Background(), ew, d.used)
		}
		ew.Used = d.used
		early, err := waits.Park(context.Background(), ew, wait.Options{NotBefore: requested})
		if h, ok := errors.AsType[*wait.HeldError](err); ok {
			if cur := w.s.waitOn(ew.ID); cur == nil || cur.Run != h.Wait.Run {
				panic(fmt.Sprintf("%s is told that %s holds the id, but %+v does\n%s", run, h.Wait.Run, cur, w.history()))
			}
		}
		if err != nil {
			return err
		}
		if len(early) == 0 {
			return nil
		}
		for _, cb := range early {
			w.take(v, run, cb)
		}
	}
}

// deliver is the runner's handler of a callback.
func (w *world) deliver(v *view, cb *event.Callback) error {
	waits := wait.New(v)
	f, err := waits.Look(context.Background(), cb)
	if err != nil || f.Wait == nil {
		return err
	}
	run := f.Wait.Run
	w.take(v, run, cb)
	v.step()
	if d := *w.docs[run]; !d.waiting {
		return waits.End(context.Background(), w.wait(run), d.used)
	}
	return nil
}

// take brings a callback into the document.
func (w *world) take(v *view, run string, cb *event.Callback) {
	for {
		v.step()
		d := *w.docs[run]
		if !d.waiting || cb.Seq <= d.used {
			return
		}
		d.used = cb.Seq
		if cb.Outcome != event.Progress {
			d.waiting, d.by = false, cb.Seq
			d.resumed++
		}
		d.revision++
		v.step()
		w.save(v, run, d, fmt.Sprintf("callback %d", cb.Seq))
	}
}

// view is a handler's way to the stream: each call may be its last, and its answer may get lost.
type view struct {
	w        *world
	name     string
	yield    func(struct{}) bool
	reliable bool
}

func (v *view) step() {
	if !v.yield(struct{}{}) {
		panic(killed{})
	}
}

func (v *view) lose() error {
	if v.w.crash > 0 && !v.reliable && v.w.rng.IntN(30) == 0 {
		v.w.crash--
		return fault.New(fault.Unavailable, "no answer", "")
	}
	return nil
}

func (v *view) Publish(ctx context.Context, m *bus.Message) (bus.Ack, error) {
	v.step()
	if err := v.lose(); err != nil {
		v.w.note("%s: %s is not sent", v.name, m.Subject)
		return bus.Ack{}, err
	}
	a, err := v.w.s.Publish(ctx, m)
	v.w.note("%s: publishes %s %v: %d, %v", v.name, m.Subject, m.Header["KV-Operation"], a.Seq, err)
	if err == nil {
		v.w.snapshot()
	}
	if lost := v.lose(); lost != nil {
		v.w.note("%s: does not hear of it", v.name)
		return bus.Ack{}, lost
	}
	return a, err
}

// Last asks the leader, or who was the leader a moment ago.
func (v *view) Last(ctx context.Context, stream, subj string) (*bus.Stored, error) {
	v.step()
	s := v.w.s
	if v.w.rng.IntN(4) == 0 {
		s = v.w.states[max(0, len(v.w.states)-1-v.w.rng.IntN(12))]
	}
	return s.Last(ctx, stream, subj)
}

func (v *view) Next(ctx context.Context, stream, subj string, from uint64) (*bus.Stored, error) {
	v.step()
	s := v.w.s
	if v.w.rng.IntN(4) == 0 {
		s = v.w.states[max(0, len(v.w.states)-1-v.w.rng.IntN(12))]
	}
	return s.Next(ctx, stream, subj, from)
}

func (v *view) KeepCallbacks() time.Duration { return v.w.s.KeepCallbacks() }

// LastAfter asks any replica that holds the message seen.
func (v *view) LastAfter(ctx context.Context, stream, subj string, seen *bus.Stored) (*bus.Stored, error) {
	v.step()
	var fresh []*model
	for _, s := range v.w.states {
		if s.last >= seen.Seq {
			fresh = append(fresh, s)
		}
	}
	return fresh[v.w.rng.IntN(len(fresh))].LastAfter(ctx, stream, subj, seen)
}
