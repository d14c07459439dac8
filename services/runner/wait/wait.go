package wait

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Bus is what waits need of NATS; *bus.Bus has it.
type Bus interface {
	Publish(ctx context.Context, m *bus.Message) (bus.Ack, error)
	Last(ctx context.Context, stream, subj string) (*bus.Stored, error)
	LastAfter(ctx context.Context, stream, subj string, seen *bus.Stored) (*bus.Stored, error)
	Next(ctx context.Context, stream, subj string, from uint64) (*bus.Stored, error)
	KeepCallbacks() time.Duration
}

// Waits are the waits of all runs. They keep nothing in memory.
type Waits struct{ bus Bus }

// New gives the waits that lie in NATS.
func New(b Bus) *Waits { return &Waits{bus: b} }

// Options of Park.
type Options struct {
	// NotBefore is when the server took the run's request: what it stored earlier does not count.
	NotBefore time.Time
	// AcceptEarly moves that: "run" or empty leaves it, "any" lifts it, a duration moves it back. In no case does a callback
	// count that was stored longer ago than callbacks are kept; those of other clients may lie there longer.
	AcceptEarly string
	// Overtaken says that a callback is there already, as far as is known: it is looked for at once, without trying to make
	// the wait first.
	Overtaken bool
	// Over is the wait of another job of the run, as in a HeldError, which is done by the run's document but still stands: the
	// id is taken over from it. To end it first would be too soon, for what its callback has set off is not done yet.
	Over *event.Wait
}

const (
	// keepOwnMark is how long a duplicate is told from a callback for nobody, where nothing else depends on the mark: there is
	// one for each wait that has ended.
	keepOwnMark = time.Hour
	// maxSleep bounds how long a timer lies in the stream, which forgets what is older than its longest wait. A longer wait is
	// woken on the way, before its deadline, and parked again.
	maxSleep = 10 * 24 * time.Hour
)

// noteOf is the subject of the note whose a callback was. No run has an empty id, so it is no wait's timer.
func noteOf(seq uint64) string { return subject.Timer("..taken." + strconv.FormatUint(seq, 10)) }

// Park makes a wait stand, unless callbacks for it are there already: then it gives those that count, in order, and no wait
// stands (a shared one is claimed, and finds what comes next). The caller feeds them to the run; should none of them end
// the wait, it parks again with Used at the last one. Parking a wait that stands changes nothing but its deadline.
//
// The deadline must be that of the saved document. A fault.Conflict (see HeldError) says that another wait has the id.
func (w *Waits) Park(ctx context.Context, wait event.Wait, o Options) ([]*event.Callback, error) {
	notBefore, err := o.notBefore(w.bus.KeepCallbacks())
	if err != nil {
		return nil, err
	}
	if wait.Deadline.IsZero() {
		return nil, fault.New(fault.Internal, "the wait for "+wait.ID+" has no deadline", "")
	}
	if !wait.Own() {
		return w.parkShared(ctx, wait, notBefore, o.Over)
	}
	if o.Overtaken {
		if early, _, err := w.after(ctx, wait.ID, wait.Used, notBefore); err != nil || len(early) > 0 {
			return early, err
		}
	}
	return w.whenFree(ctx, wait.ID, wait.Used, notBefore, func(last uint64) (*bus.Message, error) {
		wait.Used = max(wait.Used, last)
		return scheduled(subject.Wait(wait.ID), &wait)
	})
}

func (w *Waits) parkShared(ctx context.Context, wait event.Wait, notBefore time.Time, over *event.Wait) ([]*event.Callback, error) {
	used, err := w.claim(ctx, wait, over)
	if errors.Is(err, errEnded) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return w.whenFree(ctx, wait.ID, used, notBefore, func(uint64) (*bus.Message, error) {
		return scheduled(timerOf(&wait), &wait)
	})
}

// errEnded says that the wait was ended before it was made.
var errEnded = errors.New("the wait has been ended")

// claim puts a shared wait on its key and gives the last callback that does not count for it.
func (w *Waits) claim(ctx context.Context, wait event.Wait, over *event.Wait) (used uint64, err error) {
	for {
		m := &bus.Message{Subject: subject.Wait(wait.ID), Rollup: true}
		used = wait.Used
		cur, err := w.standing(ctx, wait.ID)
		switch {
		case err != nil:
			return 0, err
		case cur == nil: // never waited for, or long ago
			m.Expect = &bus.Expect{}
		case cur.ended && sameJob(&cur.wait, &wait) && cur.wait.Attempt >= wait.Attempt && wait.Since.Before(cur.at):
			// Whoever ended it has saved so: the run was cancelled, say, while we were about to. A later attempt counts on, and
			// a later run of that id has begun its wait after the mark.
			return 0, errEnded
		case !cur.ended && sameJob(&cur.wait, &wait) && cur.wait.Attempt > wait.Attempt: // the run has gone on to that one
			return 0, errEnded
		case cur.ended:
			m.Expect = &bus.Expect{Seq: cur.revision}
			if !sameJob(&cur.wait, &wait) || cur.wait.Attempt < wait.Attempt { // others may have had the id before, which the mark knows of
				used = max(used, cur.wait.Used)
			} // else the document knows; who is behind it is given what it has not seen, and stops
		case !sameJob(&cur.wait, &wait) && !sameAttempt(&cur.wait, over):
			if again, err := w.outdated(ctx, &wait, cur); err != nil {
				return 0, err
			} else if again {
				continue
			}
			return 0, held(&cur.wait)
		case sameAttempt(&cur.wait, &wait): // parked before
			return max(used, cur.wait.Used), nil
		default: // an earlier attempt's, or that of a job before
			m.Expect = &bus.Expect{Seq: cur.revision}
			m.Unschedule = timerOf(&cur.wait)
			used = max(used, cur.wait.Used)
		}
		wait.Used = used
		if m.Data, err = wait.AppendJSON(nil); err != nil {
			return 0, fmt.Errorf("write the wait for %s: %w", wait.ID, err)
		}
		switch _, err := w.bus.Publish(ctx, m); {
		case err == nil:
			return used, nil
		case !errors.Is(err, bus.ErrConflict):
			return 0, fmt.Errorf("claim the id %s: %w", wait.ID, err)
		}
	}
}

// outdated tells whether somebody else's wait, as read, is not what stands: the read may come from a leader that is none any
// more. The server is asked by a publish that depends on it: an accepted one is the only proof. It leaves nothing behind.
func (w *Waits) outdated(ctx context.Context, ours *event.Wait, cur *kept) (bool, error) {
	_, err := w.bus.Publish(ctx, &bus.Message{
		Subject: timerOf(ours) + ".check", Rollup: true, TTL: time.Second,
		Expect: &bus.Expect{Subject: subject.Wait(ours.ID), Seq: cur.revision},
	})
	if errors.Is(err, bus.ErrConflict) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("make sure of who waits for %s: %w", ours.ID, err)
	}
	return false, nil
}

// whenFree publishes a message under the condition that no callback behind the sequence used counts. Where some do, they are
// given instead; those that do not count are passed over.
func (w *Waits) whenFree(ctx context.Context, id string, used uint64, notBefore time.Time, message func(last uint64) (*bus.Message, error)) ([]*event.Callback, error) {
	for last := used; ; {
		m, err := message(last)
		if err != nil {
			return nil, err
		}
		m.Expect = &bus.Expect{Subject: subject.Callback(id), Seq: last}
		_, err = w.bus.Publish(ctx, m)
		if err == nil {
			return nil, nil
		}
		if !errors.Is(err, bus.ErrConflict) {
			return nil, fmt.Errorf("park the wait for %s: %w", id, err)
		}
		var counting []*event.Callback
		if counting, last, err = w.after(ctx, id, used, notBefore); err != nil || len(counting) > 0 {
			return counting, err
		}
	}
}

// after gives the callbacks for id behind the sequence used that count, and the sequence of the last one stored. A read that
// is out of date makes it miss the newest: the next publish is refused then.
func (w *Waits) after(ctx context.Context, id string, used uint64, notBefore time.Time) (counting []*event.Callback, last uint64, err error) {
	last = used
	for {
		m, err := w.bus.Next(ctx, subject.StreamWaits, subject.Callback(id), last+1)
		if errors.Is(err, bus.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read the callbacks for %s: %w", id, err)
		}
		last = m.Seq
		cb, err := bus.DecodeCallback(m)
		if err != nil || m.Time.Before(notBefore) {
			continue // who consumes it puts aside what is no callback
		}
		counting = append(counting, cb)
		if cb.Outcome != event.Progress {
			break // as a rule it is the last that counts; should it not be, who parks again is given the next
		}
	}
	if last > used {
		return counting, last, nil
	}
	// Nothing new: the one that was used may have expired.
	m, err := w.bus.Last(ctx, subject.StreamWaits, subject.Callback(id))
	if errors.Is(err, bus.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the callbacks for %s: %w", id, err)
	}
	return nil, min(m.Seq, used), nil // a newer one has come meanwhile: the next round sees it
}

// Timer sets a timer for a wait for time alone: its Wait comes on timeout.<id> at the deadline, not before. Setting it
// again replaces it. One of more than ten days comes every ten days as well: compare its deadline.
func (w *Waits) Timer(ctx context.Context, wait event.Wait) error {
	wait.Timer = true
	m, err := scheduled(subject.Timer(wait.ID), &wait)
	if err == nil {
		_, err = w.bus.Publish(ctx, m)
	}
	if err != nil {
		return fmt.Errorf("set the timer %s: %w", wait.ID, err)
	}
	return nil
}

// scheduled is a message that becomes the wait's timeout at its deadline.
func scheduled(on string, wait *event.Wait) (*bus.Message, error) {
	data, err := wait.AppendJSON(nil)
	if err != nil {
		return nil, fmt.Errorf("write the wait for %s: %w", wait.ID, err)
	}
	at := wait.Deadline
	if longest := time.Now().Add(maxSleep); at.After(longest) {
		at = longest
	}
	m := &bus.Message{Subject: on, Data: data, ScheduleAt: at, ScheduleTarget: subject.Timeout(wait.ID)}
	if wait.Trace != "" {
		m.Header = bus.Header{subject.HeaderTrace: wait.Trace} // the server gives it to the timeout
	}
	return m, nil
}

// timerOf is the subject of a shared wait's timer.
func timerOf(wait *event.Wait) string {
	return subject.Timer(event.InvocationID(wait.Run, wait.Job, wait.Attempt))
}

func sameJob(a, b *event.Wait) bool { return a.Run == b.Run && a.Job == b.Job }

func sameAttempt(a, b *event.Wait) bool { return b != nil && sameJob(a, b) && a.Attempt == b.Attempt }

func (o Options) notBefore(kept time.Duration) (time.Time, error) {
	t := o.NotBefore
	switch o.AcceptEarly {
	case "", "run":
	case "any":
		t = time.Time{}
	default:
		d, err := compose.ParseDuration(o.AcceptEarly)
		if err != nil {
			return t, fault.Wrap(err, fault.Invalid, "accept_early: "+o.AcceptEarly, "write run, any or a duration")
		}
		t = t.Add(-d)
	}
	if oldest := time.Now().Add(-kept); t.Before(oldest) {
		t = oldest
	}
	return t, nil
}
