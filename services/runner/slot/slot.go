// Package slot gives runs their turns where a workflow bounds how many of them go at once: the others are queued, and start in order.
//
// The runs of a group that go now are one document, which is changed by compare-and-swap: nobody starts without being in
// it, so there are never more of them than the limit. Each queued run is a message of its own in the same stream.
//
// # Who starts a run
//
// A message is acknowledged when its run is told "not yet"; so no message may start a run while another runner has the same
// message and may be told that. A turn is given in one of two ways:
//
//   - At once, to the request, when nobody is queued and there is room. All who ask for that turn are told that it is theirs.
//   - Later, to who is queued. Then its holder is marked as rung, and a message of its own, the ring, starts the run. All others
//     who ask for that turn are told "not yet", and ring once more.
//
// It is never first the one and then the other, as long as the run wants the turn. Who is told "not yet" has been queued,
// and has found no room in a document that it read afterwards, or has changed it. Who is let in at once has found the queue empty
// after it had read the document, and its change of the document is accepted only if nobody has changed it since.
//
// A ring says nothing but "look again": whose turn has come is in the document. So a ring may be doubled, or come for
// a run that has ended meanwhile, which then gives its turn back. Every step may be repeated, and is, until
// the message that set it off is acknowledged.
//
// # Who is let in
//
// Who gives a turn back leaves the queue first, and then changes the document in any case: who has read the queue before
// reads it again. Reads are up to date: a copy that lags gives no turn to who has left, and passes over nobody.
// (For the moment in which two servers take themselves for the stream's leader this is not certain, and the order may suffer;
// the limit does not.)
package slot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Bus is what slots need of NATS; *bus.Bus has it.
type Bus interface {
	Publish(ctx context.Context, m *bus.Message) (bus.Ack, error)
	Last(ctx context.Context, stream, subj string) (*bus.Stored, error)
	NextMany(ctx context.Context, stream, filter string, from uint64, n int) ([]*bus.Stored, error)
}

// Slots are the turns of all workflows.
type Slots struct {
	bus   Bus
	locks locks
}

// New gives the slots that lie in NATS.
func New(b Bus) *Slots { return &Slots{bus: b, locks: locks{held: map[string]*lock{}}} }

// Ticket is a run's place among those of its group.
type Ticket struct {
	Group  string `json:"-"` // of Group
	Run    string `json:"run"`
	Number int    `json:"number"` // of the run's turns
	Order  uint64 `json:"order"`  // the place of its request: who has the lowest is next
	Limit  int    `json:"limit"`  // how many may go at once, this one included
	Ring   string `json:"ring"`   // the id of the timer that is to ring when its turn has come
}

// Group names the runs of a workflow that share a limit: those with one value of its key.
func Group(workflow string, key json.RawMessage) string {
	sum := sha256.Sum256(key)
	return subject.SlotGroup(workflow, hex.EncodeToString(sum[:12]))
}

// holders is the document of a group.
type holders struct {
	Holders []holder `json:"holders"`
}

type holder struct {
	Run    string    `json:"run"`
	Number int       `json:"number"`
	Since  time.Time `json:"since"`
	Rung   bool      `json:"rung,omitempty"` // it was queued: its ring starts the run, and nothing else
}

var stream = subject.BucketStream(subject.BucketSlots)

const (
	// window is how many of the queue are looked at for the lowest order: so many may have been queued out of order,
	// because several runners take requests at once.
	window = 256
	// keepEmpty is how long the document of a group with nobody in it stays, and keepRing how long a ring waits for a runner.
	keepEmpty = time.Minute
	keepRing  = 72 * time.Hour
	// settled is how old a turn must be to be held against its run's document.
	settled = 10 * time.Second
)

// Acquire tells whether the ticket's turn has come at once, and queues it where it has not: then its ring will start it.
// Asking again changes nothing.
func (s *Slots) Acquire(ctx context.Context, t Ticket) (bool, error) {
	defer s.locks.take(t.Group)()
	for {
		h, rev, err := s.load(ctx, t.Group)
		if err != nil {
			return false, err
		}
		switch i := h.index(t); {
		case i >= 0 && !h.Holders[i].Rung:
			return true, nil
		case i >= 0:
			return false, s.admit(ctx, t) // who was to ring may have died, and an old ring may have been forgotten
		case len(h.Holders) >= t.Limit:
			return s.enqueue(ctx, t)
		}
		queue, err := s.queued(ctx, t.Group)
		if err != nil {
			return false, err
		}
		if len(queue) > 0 {
			return s.enqueue(ctx, t)
		}
		h.Holders = append(h.Holders, holder{Run: t.Run, Number: t.Number, Since: time.Now()})
		if err := s.save(ctx, t.Group, h, rev); err == nil || !errors.Is(err, bus.ErrConflict) {
			return err == nil, err
		}
	}
}

// Rung tells the one who was rung for whether the turn is still the ticket's.
func (s *Slots) Rung(ctx context.Context, t Ticket) (bool, error) {
	h, _, err := s.load(ctx, t.Group)
	return err == nil && h.index(t) >= 0, err
}

func (s *Slots) enqueue(ctx context.Context, t Ticket) (bool, error) {
	data, err := json.Marshal(t)
	if err != nil {
		return false, fmt.Errorf("write the ticket of run %s: %w", t.Run, err)
	}
	_, err = s.bus.Publish(ctx, &bus.Message{Subject: queueSubject(t), Data: data, Expect: &bus.Expect{}})
	if err != nil && !errors.Is(err, bus.ErrConflict) { // a conflict: it is queued, or was
		return false, fmt.Errorf("queue run %s: %w", t.Run, err)
	}
	// A turn may have been given back since we looked: its giver has not seen us then.
	h, err := s.advance(ctx, t.Group, &t)
	if err != nil {
		return false, err
	}
	i := h.index(t)
	return i >= 0 && !h.Holders[i].Rung, nil
}

// Release gives a turn back, or takes the ticket out of the queue, and lets in who is next. Doing it again changes nothing.
func (s *Slots) Release(ctx context.Context, t Ticket) error {
	defer s.locks.take(t.Group)()
	if err := s.release(ctx, t); err != nil {
		return err
	}
	_, err := s.advance(ctx, t.Group, nil)
	return err
}

func (s *Slots) release(ctx context.Context, t Ticket) error {
	// First out of the queue: who finds it there without a turn would give it one. Who has found it there already has read
	// the document before, and comes second to the change of it that follows, though it may change nothing.
	switch m, err := s.bus.Last(ctx, stream, queueSubject(t)); {
	case err == nil && !bus.Removed(m):
		if err := s.dequeue(ctx, t); err != nil {
			return err
		}
	case err != nil && !errors.Is(err, bus.ErrNotFound):
		return fmt.Errorf("look for run %s in its queue: %w", t.Run, err)
	}
	for {
		h, rev, err := s.load(ctx, t.Group)
		if err != nil {
			return err
		}
		if i := h.index(t); i >= 0 {
			h.Holders = slices.Delete(h.Holders, i, i+1)
		}
		if err := s.save(ctx, t.Group, h, rev); !errors.Is(err, bus.ErrConflict) {
			return err
		}
	}
}

// Check takes out the turns that nobody has any more, and lets in who is next. A turn can be left over where a runner is
// stopped for longer than its messages wait for it, takes a turn for a run that others have brought to its end meanwhile, and is
// killed right then.
func (s *Slots) Check(ctx context.Context, group string, alive func(ctx context.Context, run string, number int) (bool, error)) error {
	defer s.locks.take(group)()
	h, _, err := s.load(ctx, group)
	if err != nil {
		return err
	}
	for _, one := range h.Holders {
		if time.Since(one.Since) < settled {
			continue
		}
		ok, err := alive(ctx, one.Run, one.Number)
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		if err := s.release(ctx, Ticket{Group: group, Run: one.Run, Number: one.Number}); err != nil {
			return err
		}
	}
	_, err = s.advance(ctx, group, nil)
	return err
}

// advance gives turns to those of the queue that may have one, and rings for them. It gives the document that it has left. Where
// somebody asks for a turn, that one has either got it, or could not have had it after it was queued.
func (s *Slots) advance(ctx context.Context, group string, asking *Ticket) (holders, error) {
	for touched := false; ; {
		h, rev, err := s.load(ctx, group)
		if err != nil {
			return h, err
		}
		queue, err := s.queued(ctx, group)
		if err != nil || len(queue) == 0 {
			return h, err
		}
		next, err := s.next(ctx, &h, queue)
		if err != nil {
			return h, err
		}
		// There is room for who asks, but another is before it who takes a lower limit: whoever found the queue empty, and is
		// about to let the same run in, is to come second.
		touch := !touched && len(next) == 0 && asking != nil && h.index(*asking) < 0 && len(h.Holders) < asking.Limit
		if len(next) == 0 && !touch {
			return h, nil
		}
		switch err := s.save(ctx, group, h, rev); {
		case errors.Is(err, bus.ErrConflict):
			continue
		case err != nil:
			return h, err
		case touch:
			touched = true
			continue
		}
		for _, t := range next {
			if err := s.admit(ctx, t); err != nil {
				return h, err
			}
		}
		return h, nil
	}
}

// next adds to the holders those of the queue who may go now. What was left undone for who has its turn already is done.
func (s *Slots) next(ctx context.Context, h *holders, queue []Ticket) (next []Ticket, err error) {
	full := false
	for _, t := range queue {
		if i := h.index(t); i >= 0 {
			if h.Holders[i].Rung {
				err = s.admit(ctx, t) // who gave it may not have come to ringing
			} else {
				err = s.dequeue(ctx, t) // its request goes on
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		if full = full || len(h.Holders) >= t.Limit; full {
			continue
		}
		m, err := s.bus.Last(ctx, stream, queueSubject(t))
		if errors.Is(err, bus.ErrNotFound) || err == nil && bus.Removed(m) {
			continue // it has left, and a copy of the queue does not know yet
		}
		if err != nil {
			return nil, fmt.Errorf("look for run %s in its queue: %w", t.Run, err)
		}
		h.Holders = append(h.Holders, holder{Run: t.Run, Number: t.Number, Since: time.Now(), Rung: true})
		next = append(next, t)
	}
	return next, nil
}

// admit rings for a ticket that has its turn, and takes it out of the queue.
func (s *Slots) admit(ctx context.Context, t Ticket) error {
	data, err := json.Marshal(event.Wait{ID: t.Ring, Run: t.Run, Timer: true})
	if err != nil {
		return fmt.Errorf("write the ring for run %s: %w", t.Run, err)
	}
	if _, err := s.bus.Publish(ctx, &bus.Message{Subject: subject.Timeout(t.Ring), Data: data, TTL: keepRing}); err != nil {
		return fmt.Errorf("ring for run %s: %w", t.Run, err)
	}
	return s.dequeue(ctx, t)
}

func (s *Slots) dequeue(ctx context.Context, t Ticket) error {
	if _, err := s.bus.Publish(ctx, bus.Removal(queueSubject(t), time.Second)); err != nil {
		return fmt.Errorf("take run %s out of its queue: %w", t.Run, err)
	}
	return nil
}

// queued gives the first of the queue, in order.
func (s *Slots) queued(ctx context.Context, group string) ([]Ticket, error) {
	var queue []Ticket
	for from := uint64(1); ; {
		many, err := s.bus.NextMany(ctx, stream, subject.SlotQueue(group), from, window)
		if err != nil {
			return nil, fmt.Errorf("read the queue %s: %w", group, err)
		}
		for _, m := range many {
			from = m.Seq + 1
			t := Ticket{Group: group}
			if bus.Removed(m) || json.Unmarshal(m.Data, &t) != nil {
				continue // has left, or is not ours
			}
			queue = append(queue, t)
		}
		if len(queue) > 0 || len(many) == 0 {
			slices.SortFunc(queue, func(a, b Ticket) int { return cmp.Or(cmp.Compare(a.Order, b.Order), strings.Compare(a.Run, b.Run)) })
			return queue, nil
		}
	}
}

func (s *Slots) load(ctx context.Context, group string) (h holders, rev uint64, err error) {
	m, err := s.bus.Last(ctx, stream, subject.SlotHolders(group))
	if errors.Is(err, bus.ErrNotFound) {
		return h, 0, nil
	}
	if err != nil {
		return h, 0, fmt.Errorf("read who goes in %s: %w", group, err)
	}
	if len(m.Data) > 0 {
		if err := json.Unmarshal(m.Data, &h); err != nil {
			return h, 0, fmt.Errorf("read who goes in %s: %w", group, err)
		}
	}
	return h, m.Seq, nil
}

func (s *Slots) save(ctx context.Context, group string, h holders, rev uint64) error {
	data, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("write who goes in %s: %w", group, err)
	}
	m := &bus.Message{Subject: subject.SlotHolders(group), Data: data, Expect: &bus.Expect{Seq: rev}}
	if len(h.Holders) == 0 {
		m.TTL = keepEmpty
	}
	if _, err := s.bus.Publish(ctx, m); err != nil {
		return fmt.Errorf("save who goes in %s: %w", group, err)
	}
	return nil
}

func (h *holders) index(t Ticket) int {
	return slices.IndexFunc(h.Holders, func(o holder) bool { return o.Run == t.Run && o.Number == t.Number })
}

func queueSubject(t Ticket) string {
	return subject.SlotQueued(t.Group, t.Run+"#"+strconv.Itoa(t.Number))
}

// locks let one at a time work on a group in this process: the others would only come second at the server.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	sync.Mutex
	users int
}

func (l *locks) take(name string) (give func()) {
	l.mu.Lock()
	one := l.held[name]
	if one == nil {
		one = &lock{}
		l.held[name] = one
	}
	one.users++
	l.mu.Unlock()
	one.Lock()
	return func() {
		one.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(l.held, name)
		}
	}
}
