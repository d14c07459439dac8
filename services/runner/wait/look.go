package wait

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Found is what is known of a callback's wait. At most one of its pointers is set; none: nobody waits, or not yet.
type Found struct {
	// Wait is the one that the callback is for.
	Wait *event.Wait
	// Passed is the wait that stands, but for which this callback does not count: its parker has dealt with it. All that can be
	// left to do is what an earlier delivery of it set off.
	Passed *event.Wait
	// Mark is what an ended wait left; its Used is the last callback that counted.
	Mark *event.Wait
	// Before tells whether the callback was there before the wait that has passed it, or the mark: it may have been taken by then.
	Before bool
}

// Look finds the wait that a stored callback belongs to.
func (w *Waits) Look(ctx context.Context, cb *event.Callback) (Found, error) {
	seen := &bus.Stored{Subject: subject.Callback(cb.ID), Seq: cb.Seq}
	m, err := w.bus.LastAfter(ctx, subject.StreamWaits, subject.Wait(cb.ID), seen)
	cur, err := read(m, err)
	switch {
	case err != nil:
		return Found{}, fmt.Errorf("look for the wait for %s: %w", cb.ID, err)
	case cur == nil:
		return Found{}, nil
	}
	before := cb.Seq < cur.revision
	if before && !cur.wait.Own() {
		if err := w.byNote(ctx, cb, cur); err != nil {
			return Found{}, err
		}
	}
	switch {
	case cur.ended:
		return Found{Mark: &cur.wait, Before: before}, nil
	case before, cb.Seq <= cur.wait.Used:
		return Found{Passed: &cur.wait, Before: true}, nil
	default:
		return Found{Wait: &cur.wait}, nil
	}
}

// byNote replaces what lies on a shared id's key by the wait that a callback was for, where that has left a note.
func (w *Waits) byNote(ctx context.Context, cb *event.Callback, cur *kept) error {
	m, err := w.bus.LastAfter(ctx, subject.StreamWaits, noteOf(cb.Seq), &bus.Stored{Subject: subject.Wait(cb.ID), Seq: cur.revision})
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	var was event.Wait
	if err == nil {
		err = json.Unmarshal(m.Data, &was)
	}
	if err != nil {
		return fmt.Errorf("look for whose callback %d for %s was: %w", cb.Seq, cb.ID, err)
	}
	cur.wait = was
	return nil
}

// End ends a wait or a timer, after the document has been saved. used is the last callback that it has used, zero for
// none. Ending again, or what never stood, changes nothing. Of a shared id it ends this attempt's wait and earlier ones'.
func (w *Waits) End(ctx context.Context, wait event.Wait, used uint64) error {
	return w.EndShared(ctx, wait, used, Known{})
}

// Known is what a run's document says of a shared id.
type Known struct {
	// Done tells whether the run is done with another of its waits, which is ended as well where it stands: that job's end may have
	// come before the wait was made.
	Done func(*event.Wait) bool
	// Unfinished are callbacks for the id that the run has taken but may not be done with. Each leaves a note, by which it finds
	// the run when it comes again and the id is another's.
	Unfinished []uint64
}

// EndShared is End, by what is known of a shared id.
func (w *Waits) EndShared(ctx context.Context, wait event.Wait, used uint64, known Known) error {
	if wait.Timer {
		return w.endTimer(ctx, wait)
	}
	if wait.Own() {
		m, err := mark(wait, used, keepOwnMark)
		if err == nil {
			_, err = w.bus.Publish(ctx, m)
		}
		if err != nil {
			return fmt.Errorf("end the wait for %s: %w", wait.ID, err)
		}
		return nil
	}
	for {
		done, err := w.endShared(ctx, wait, used, known)
		if done || err != nil {
			return err
		}
	}
}

// endShared tries to end a wait whose id others may use. That it is not there, or not ours, is an answer only when a publish
// that depends on it was accepted.
func (w *Waits) endShared(ctx context.Context, wait event.Wait, used uint64, known Known) (done bool, err error) {
	cur, err := w.standing(ctx, wait.ID)
	if err != nil {
		return false, err
	}
	by, expect := wait, bus.Expect{}
	if cur != nil {
		ours := sameJob(&cur.wait, &wait)
		switch {
		case !cur.ended && (ours && cur.wait.Attempt <= wait.Attempt || cur.wait.Run == wait.Run && known.Done != nil && known.Done(&cur.wait)):
			by = cur.wait
			if err := w.note(ctx, wait, used, known.Unfinished); err != nil {
				return false, err
			}
		case cur.ended && ours && cur.wait.Used < used:
		default: // ended before, and perhaps the next one's by now
			again, err := w.outdated(ctx, &wait, cur)
			return err == nil && !again, err
		}
		expect.Seq = cur.revision
		used = max(used, cur.wait.Used)
	}
	m, err := mark(by, used, w.bus.KeepCallbacks())
	if err != nil {
		return false, err
	}
	m.Expect = &expect
	m.Unschedule = timerOf(&by)
	if _, err = w.bus.Publish(ctx, m); errors.Is(err, bus.ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("end the wait for %s: %w", wait.ID, err)
	}
	return true, nil
}

// note leaves a note whose callbacks were.
func (w *Waits) note(ctx context.Context, wait event.Wait, used uint64, unfinished []uint64) error {
	for _, seq := range unfinished {
		wait.Used = max(used, seq)
		data, err := wait.AppendJSON(nil)
		if err == nil {
			_, err = w.bus.Publish(ctx, &bus.Message{Subject: noteOf(seq), Data: data, Rollup: true, TTL: w.bus.KeepCallbacks()})
		}
		if err != nil {
			return fmt.Errorf("note whose callback %d for %s was: %w", seq, wait.ID, err)
		}
	}
	return nil
}

// endTimer replaces the timer's message by one that goes away by itself.
func (w *Waits) endTimer(ctx context.Context, wait event.Wait) error {
	_, err := w.bus.Publish(ctx, &bus.Message{Subject: subject.Timer(wait.ID), Rollup: true, TTL: time.Second})
	if err != nil {
		return fmt.Errorf("end the timer %s: %w", wait.ID, err)
	}
	return nil
}

// mark is what an ended wait leaves on its key: to a KV client the key is gone.
func mark(wait event.Wait, used uint64, keep time.Duration) (*bus.Message, error) {
	wait.Used = used
	data, err := wait.AppendJSON(nil)
	if err != nil {
		return nil, fmt.Errorf("write the mark of %s: %w", wait.ID, err)
	}
	m := bus.Removal(subject.Wait(wait.ID), keep)
	m.Data, m.Header[subject.HeaderUsed] = data, strconv.FormatUint(used, 10)
	return m, nil
}

// kept is what lies on a wait's key.
type kept struct {
	wait     event.Wait
	ended    bool
	revision uint64
	at       time.Time
}

// standing reads a wait's key; nil: there is nothing.
func (w *Waits) standing(ctx context.Context, id string) (*kept, error) {
	k, err := read(w.bus.Last(ctx, subject.StreamWaits, subject.Wait(id)))
	if err != nil {
		return nil, fmt.Errorf("read the wait for %s: %w", id, err)
	}
	return k, nil
}

func read(m *bus.Stored, err error) (*kept, error) {
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k := &kept{revision: m.Seq, at: m.Time, ended: bus.Removed(m)}
	if len(m.Data) > 0 {
		err = json.Unmarshal(m.Data, &k.wait)
	}
	if err == nil && !k.ended && k.wait.Run == "" {
		err = errors.New("it names no run")
	}
	if err != nil && !k.ended { // a mark may be another client's
		return nil, fault.Wrap(err, fault.Internal, "what lies on "+m.Subject+" is not a wait", "delete that key of the bucket waits")
	}
	return k, nil
}

// HeldError says that another wait stands for an id that is not a run's own.
type HeldError struct {
	Wait event.Wait // the one that stands
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("job %s of run %s waits for %s until %s", e.Wait.Job, e.Wait.Run, e.Wait.ID, e.Wait.Deadline.UTC().Format(time.RFC3339))
}

func held(by *event.Wait) error {
	return fault.Wrap(&HeldError{Wait: *by}, fault.Conflict, "the id "+by.ID+" is already waited for",
		"give each run an id of its own (${context.run_id}), or let one end before the next begins")
}
