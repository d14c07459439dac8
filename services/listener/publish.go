package listener

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener/ingress"
)

// fate is what became of one item.
type fate struct {
	id        string
	run       string // of a trigger's item
	outcome   event.Outcome
	seq       uint64 // of a callback, where it is stored
	duplicate bool
	err       error
}

// errUntried is the fate of items that were not reached.
var errUntried = fault.New(fault.Unavailable, "not tried: another item could not be stored", "")

func untried(n int) []fate {
	fates := make([]fate, n)
	for i := range fates {
		fates[i].err = errUntried
	}
	return fates
}

// publishers is how many items of one bulk request are published at once.
const publishers = 16

// publishAll calls publish for each of n items, several at once, those with equal keys in their order. Once one
// was not stored for a reason of ours, the rest is not tried: they would only wait for the same answer.
func (s *server) publishAll(n int, key func(i int) string, publish func(i int) (goOn bool)) {
	if n == 0 {
		return
	}
	var (
		workers = min(n, publishers)
		seed    = maphash.MakeSeed()
		lines   = make([][]int, workers)
		halt    atomic.Bool
		running sync.WaitGroup
	)
	for i := range n {
		w := i
		if k := key(i); k != "" {
			w = int(maphash.String(seed, k) % uint64(workers))
		}
		lines[w%workers] = append(lines[w%workers], i)
	}
	for _, line := range lines {
		running.Go(func() {
			for _, i := range line {
				if halt.Load() {
					return
				}
				if !publish(i) {
					halt.Store(true)
				}
			}
		})
	}
	running.Wait()
}

// publishCallback stores one callback; false when that failed for a reason of ours.
func (s *server) publishCallback(it *ingress.Item, f *fate, keep time.Duration) bool {
	f.id, f.outcome, f.err = it.Callback.ID, it.Callback.Outcome, it.Err
	if f.err != nil {
		return true
	}
	if _, taken := s.seen(s.working, it.Callback.DeliveryID, keep); taken {
		f.duplicate = true
		return true
	}
	began := time.Now()
	ack, err := s.bus.PublishCallback(s.working, &it.Callback)
	s.publish.Observe(time.Since(began).Seconds())
	f.seq, f.duplicate, f.err = ack.Seq, ack.Duplicate, err
	if err == nil {
		s.remember(s.working, it.Callback.DeliveryID, "", keep)
	}
	return err == nil || refusable(err)
}

// publishRun stores one run request under a new id.
func (s *server) publishRun(it *ingress.RunItem, f *fate, now time.Time, keep time.Duration) bool {
	f.outcome, f.err = runRequested, it.Err
	if f.err != nil {
		return true
	}
	r := &it.Request
	delivery := r.MsgID
	if run, taken := s.seen(s.working, delivery, keep); taken {
		f.run, f.duplicate = run, true
		return true
	}
	r.RunID = newID(now)
	if r.MsgID == "" {
		r.MsgID = r.RunID
	}
	began := time.Now()
	ack, err := s.bus.PublishRunRequest(s.working, r)
	s.publish.Observe(time.Since(began).Seconds())
	f.err, f.duplicate = err, ack.Duplicate
	if !ack.Duplicate {
		f.run = r.RunID // a duplicate's run has the id that the first request was given
		if err == nil {
			s.remember(s.working, delivery, r.RunID, keep)
		}
	}
	return err == nil || refusable(err)
}
