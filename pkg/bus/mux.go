package bus

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// What ends an exchange without an answer. Each of them leaves open whether the request was carried out.
var (
	errNoAnswer     = errors.New("no answer in time")
	errDisconnected = errors.New("the connection to NATS was lost before the answer came")
	errClosed       = errors.New("the connection to NATS is closed")
)

// mux carries requests and their answers over one subscription: each exchange borrows a slot, whose
// number and use are its reply subject. Nothing is made per exchange but that subject. Deadlines are
// watched by one sweeper, so that an exchange needs neither a timer nor a context of its own.
type mux struct {
	nc     *nats.Conn
	sub    *nats.Subscription
	prefix string // of reply subjects

	slots []atomic.Pointer[slot] // by number; filled as needed
	free  chan *slot
	made  atomic.Int32

	stop    chan struct{}
	stopped sync.WaitGroup
}

type slot struct {
	n       int
	answers chan answer

	mu       sync.Mutex
	use      uint32 // counts the exchanges: a late answer to an earlier one is told by it
	busy     bool
	deadline time.Time
}

type answer struct {
	msg *nats.Msg
	err error
}

// answersPerSlot is the most that one request brings: two messages and the end of a batch, and one to spare.
const answersPerSlot = 4

const sweepEvery = 50 * time.Millisecond

func newMux(nc *nats.Conn, size int) (*mux, error) {
	x := &mux{
		nc: nc, prefix: nc.NewInbox() + ".", slots: make([]atomic.Pointer[slot], size), free: make(chan *slot, size), stop: make(chan struct{}),
	}
	sub, err := nc.Subscribe(x.prefix+"*", x.deliver)
	if err != nil {
		return nil, err
	}
	x.sub = sub
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	x.stopped.Go(x.sweep)
	return x, nil
}

// close fails what still waits for an answer. The connection is closed already: nothing new can begin.
func (x *mux) close() {
	close(x.stop)
	x.stopped.Wait()
	x.fail(errClosed)
}

// ask sends m and gives the first answer. The deadline, or ctx, bounds it.
func (x *mux) ask(ctx context.Context, m *nats.Msg, deadline time.Time) (*nats.Msg, error) {
	s, err := x.borrow(ctx, m, deadline)
	if err != nil {
		return nil, err
	}
	defer x.giveBack(s)
	if err := x.nc.PublishMsg(m); err != nil {
		return nil, err
	}
	return s.next(ctx)
}

// askAll is ask for a request with several answers; last tells the last one.
func (x *mux) askAll(ctx context.Context, m *nats.Msg, deadline time.Time, last func(*nats.Msg) bool) ([]*nats.Msg, error) {
	s, err := x.borrow(ctx, m, deadline)
	if err != nil {
		return nil, err
	}
	defer x.giveBack(s)
	if err := x.nc.PublishMsg(m); err != nil {
		return nil, err
	}
	var all []*nats.Msg
	for {
		a, err := s.next(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
		if last(a) {
			return all, nil
		}
	}
}

func (s *slot) next(ctx context.Context) (*nats.Msg, error) {
	select {
	case a := <-s.answers:
		return a.msg, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// maxSubject is what fits, with a reply's address and the sizes, into the 4 KiB that a server takes for a line.
const maxSubject = 3 << 10

// borrow takes a slot, waiting for one when all are in use, and addresses m's answer to it.
func (x *mux) borrow(ctx context.Context, m *nats.Msg, deadline time.Time) (*slot, error) {
	if len(m.Subject) > maxSubject {
		return nil, ErrSubject
	}
	s, err := x.take(ctx, deadline)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.use++
	s.busy, s.deadline = true, deadline
	use := s.use
	s.mu.Unlock()
	var b [64]byte
	reply := append(b[:0], x.prefix...)
	reply = append(strconv.AppendInt(reply, int64(s.n), 36), '_')
	// A new one each time: an answer that comes twice, as when a stream changes its leader, must not be taken for the next one's.
	m.Reply = string(strconv.AppendUint(reply, uint64(use), 36))
	return s, nil
}

func (x *mux) take(ctx context.Context, deadline time.Time) (*slot, error) {
	select {
	case s := <-x.free:
		return s, nil
	default:
	}
	if n := int(x.made.Add(1)) - 1; n < len(x.slots) {
		s := &slot{n: n, answers: make(chan answer, answersPerSlot)}
		x.slots[n].Store(s)
		return s, nil
	}
	x.made.Add(-1)
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case s := <-x.free:
		return s, nil
	case <-t.C:
		return nil, errors.New("too many requests wait for NATS")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (x *mux) giveBack(s *slot) {
	s.mu.Lock()
	s.busy = false
	for len(s.answers) > 0 {
		<-s.answers
	}
	s.mu.Unlock()
	x.free <- s
}

// deliver hands an answer to the slot that it is addressed to, if that exchange still goes on.
func (x *mux) deliver(m *nats.Msg) {
	n, use, ok := parseReply(strings.TrimPrefix(m.Subject, x.prefix))
	if !ok || n >= len(x.slots) {
		return
	}
	if s := x.slots[n].Load(); s != nil {
		s.mu.Lock()
		if s.busy && s.use == use {
			s.put(answer{msg: m})
		}
		s.mu.Unlock()
	}
}

// put never blocks: whoever sends more answers than a request can have does not stop the others.
func (s *slot) put(a answer) {
	select {
	case s.answers <- a:
	default:
	}
}

func parseReply(token string) (n int, use uint32, ok bool) {
	a, b, ok := strings.Cut(token, "_")
	if !ok {
		return 0, 0, false
	}
	i, err := strconv.ParseUint(a, 36, 31)
	if err != nil {
		return 0, 0, false
	}
	u, err := strconv.ParseUint(b, 36, 32)
	return int(i), uint32(u), err == nil
}

// fail ends every exchange with err.
func (x *mux) fail(err error) {
	x.each(func(s *slot) { s.put(answer{err: err}) })
}

func (x *mux) each(f func(*slot)) {
	for i := range min(int(x.made.Load()), len(x.slots)) {
		s := x.slots[i].Load()
		if s == nil {
			continue // being made just now
		}
		s.mu.Lock()
		if s.busy {
			f(s)
		}
		s.mu.Unlock()
	}
}

// sweep ends exchanges whose deadline has passed.
func (x *mux) sweep() {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-x.stop:
			return
		case now := <-t.C:
			x.each(func(s *slot) {
				if now.After(s.deadline) {
					s.put(answer{err: errNoAnswer})
				}
			})
		}
	}
}
