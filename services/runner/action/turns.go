package action

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// turns lets requests go as a rate says: never more in any span of its length. A token bucket (golang.org/x/time/rate) lets up to
// twice as many go in one, what it has saved and what comes meanwhile, which is what services refuse. They count what arrives, and the
// first request over a new connection arrives later than the others: the spans are a little longer for that.
type turns struct {
	of   string
	rate compose.Rate

	mu      sync.Mutex
	sent    []time.Time     // the last ones, at most as many as may go in a span
	oldest  int             // of them
	waiting []chan struct{} // in order; who is told that it is the first waits for the time, and the others for that
}

const longestSlack = 100 * time.Millisecond

// take waits for a turn. One that would come after ctx has ended is told at once. Who gives up leaves its turn to the next.
func (t *turns) take(ctx context.Context) error {
	if t == nil {
		return nil
	}
	first, err := t.enter(ctx)
	if err != nil {
		return err
	}
	defer t.leave(first)
	select {
	case <-first:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	timer := time.NewTimer(time.Until(t.due(0)))
	defer timer.Stop()
	select {
	case <-timer.C:
		t.sends()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *turns) enter(ctx context.Context) (first chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.dueLocked(len(t.waiting))
	if end, ok := ctx.Deadline(); ok && at.After(end) {
		return nil, &engine.Error{Code: engine.CodeTimeout, Message: fmt.Sprintf(
			"the rate_limit of component %s, %d in %s, gives it a turn only at %s, when its time is over: give it a longer timeout, or let fewer go at once",
			t.of, t.rate.Count, t.rate.Per, at.UTC().Format(time.RFC3339))}
	}
	first = make(chan struct{}, 1)
	t.waiting = append(t.waiting, first)
	if len(t.waiting) == 1 {
		first <- struct{}{}
	}
	return first, nil
}

func (t *turns) leave(who chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting, who)
	t.waiting = slices.Delete(t.waiting, i, i+1)
	if i == 0 && len(t.waiting) > 0 {
		t.waiting[0] <- struct{}{}
	}
}

func (t *turns) due(place int) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dueLocked(place)
}

// dueLocked is when the one at a place in the queue may go, should nobody before it give up: a span after the one that is as many
// before it as may go in a span. t.mu is held.
func (t *turns) dueLocked(place int) time.Time {
	at, span := time.Now(), t.rate.Per+min(t.rate.Per/20, longestSlack)
	later := time.Duration(place/t.rate.Count) * span
	if i := len(t.sent) + place%t.rate.Count - t.rate.Count; i >= 0 {
		if free := t.sent[(t.oldest+i)%len(t.sent)].Add(span); free.After(at) {
			at = free
		}
	}
	return at.Add(later)
}

// sends notes that a request is sent now.
func (t *turns) sends() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sent) < t.rate.Count {
		t.sent = append(t.sent, time.Now())
		return
	}
	t.sent[t.oldest] = time.Now()
	t.oldest = (t.oldest + 1) % len(t.sent)
}
