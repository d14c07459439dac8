// Package slot gives runs their turns where a workflow bounds how many of them go at once: the others are queued, and start in order.
//
// The runs of a group that go now are one document, which is changed by compare-and-swap: nobody starts without being in
// it, so there are never more of them than the limit. Each queued run is a message of its own in the same stream.
//
// Who takes a run out lets the next ones in, and rings for them: it publishes the message that their own timer would publish
// later. A ring says nothing but "look again": whose turn has come is in the document. So a ring may be doubled, or come for
// a run that has ended meanwhile, which then gives its turn back. Every step may be repeated, and is, until
// the message that set it off is acknowledged.
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
}

const (
	stream = "KV_" + subject.BucketSlots // subject.BucketStream of it
	// window is how many of the queue are looked at for the lowest order: so many may have been queued out of order,
	// because several runners take requests at once.
	window = 256
	// keepEmpty is how long the document of a group with nobody in it stays, and keepRing how long a ring waits for a runner.
	keepEmpty = time.Minute
	keepRing  = 72 * time.Hour
	// settled is how old a turn must be to be held against its run's document.
	settled = 10 * time.Second

	hdrOperation = "KV-Operation"
	opPurge      = "PURGE"
)

// Acquire tells whether it is the ticket's turn, and queues it where it is not. Asking again changes nothing.
func (s *Slots) Acquire(ctx context.Context, t Ticket) (bool, error) {
	defer s.locks.take(t.Group)()
	for {
		h, rev, err := s.load(ctx, t.Group)
		switch {
		case err != nil:
			return false, err
		case h.index(t) >= 0:
			return true, nil
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
		h.Holders = append(h.Holders, holder{t.Run, t.Number, time.Now()})
		if err := s.save(ctx, t.Group, h, rev); err == nil || !errors.Is(err, bus.ErrConflict) {
			return err == nil, err
		}
	}
}

func (s *Slots) enqueue(ctx context.Context, t Ticket) (bool, error) {
	data, err := json.Marshal(t)
	if err != nil {
		return false, fmt.Errorf("write the ticket of run %s: %w", t.Run, err)
	}
	_, err = s.bus.Publish(ctx, &bus.Message{Subject: queueSubject(t), Data: data, Expect: &bus.Expect{}})
	if err != nil && !errors.Is(err, bus.ErrConflict) { // a conflict: it is queued
		return false, fmt.Errorf("queue run %s: %w", t.Run, err)
	}
	// A turn may have been given back since we looked: its giver has not seen us then.
	if err := s.advance(ctx, t.Group, &t); err != nil {
		return false, err
	}
	h, _, err := s.load(ctx, t.Group)
	return err == nil && h.index(t) >= 0, err
}

// Release gives a turn back, or takes the ticket out of the queue, and lets in who is next. Doing it again changes nothing.
func (s *Slots) Release(ctx context.Context, t Ticket) error {
	defer s.locks.take(t.Group)()
	if err := s.release(ctx, t); err != nil {
		return err
	}
	return s.advance(ctx, t.Group, nil)
}

func (s *Slots) release(ctx context.Context, t Ticket) error {
	// First out of the queue: who finds it there without a turn would give it one.
	switch m, err := s.bus.Last(ctx, stream, queueSubject(t)); {
	case err == nil && m.Header[hdrOperation] == "":
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
		i := h.index(t)
		if i < 0 {
			return nil
		}
		h.Holders = slices.Delete(h.Holders, i, i+1)
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
	return s.advance(ctx, group, nil)
}

// advance gives turns to those of the queue that may have one, and rings for them; not for the one that asks.
func (s *Slots) advance(ctx context.Context, group string, asking *Ticket) error {
	for {
		h, rev, err := s.load(ctx, group)
		if err != nil {
			return err
		}
		queue, err := s.queued(ctx, group)
		if err != nil || len(queue) == 0 {
			return err
		}
		next, full := []Ticket(nil), false
		for _, t := range queue {
			if h.index(t) >= 0 { // given before; who gave it may not have come to ringing
				if err := s.admit(ctx, t, asking); err != nil {
					return err
				}
				continue
			}
			if full = full || len(h.Holders) >= t.Limit; full {
				continue
			}
			h.Holders = append(h.Holders, holder{t.Run, t.Number, time.Now()})
			next = append(next, t)
		}
		if len(next) == 0 {
			return nil
		}
		switch err := s.save(ctx, group, h, rev); {
		case errors.Is(err, bus.ErrConflict):
			continue
		case err != nil:
			return err
		}
		for _, t := range next {
			if err := s.admit(ctx, t, asking); err != nil {
				return err
			}
		}
	}
}

// admit rings for a ticket that has its turn, and takes it out of the queue.
func (s *Slots) admit(ctx context.Context, t Ticket, asking *Ticket) error {
	if asking == nil || asking.Run != t.Run || asking.Number != t.Number {
		data, err := json.Marshal(event.Wait{ID: t.Ring, Run: t.Run, Timer: true})
		if err != nil {
			return fmt.Errorf("write the ring for run %s: %w", t.Run, err)
		}
		if _, err := s.bus.Publish(ctx, &bus.Message{Subject: subject.Timeout(t.Ring), Data: data, TTL: keepRing}); err != nil {
			return fmt.Errorf("ring for run %s: %w", t.Run, err)
		}
	}
	return s.dequeue(ctx, t)
}

func (s *Slots) dequeue(ctx context.Context, t Ticket) error {
	_, err := s.bus.Publish(ctx, &bus.Message{
		Subject: queueSubject(t), Header: bus.Header{hdrOperation: opPurge}, Rollup: true, TTL: time.Second,
	})
	if err != nil {
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
			if m.Header[hdrOperation] != "" || json.Unmarshal(m.Data, &t) != nil {
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
