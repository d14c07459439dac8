package action

import (
	"context"
	"fmt"
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

	mu   sync.Mutex
	sent []time.Time // the last ones, at most as many as may go in a span
	next int         // the oldest of them
}

const longestSlack = 100 * time.Millisecond

// take waits for a turn. One that would come after ctx has ended is told at once.
func (t *turns) take(ctx context.Context) error {
	if t == nil {
		return nil
	}
	at, err := t.reserve(ctx)
	if err != nil {
		return err
	}
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *turns) reserve(ctx context.Context) (time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := time.Now()
	if len(t.sent) < t.rate.Count {
		t.sent = append(t.sent, at)
		return at, nil
	}
	if free := t.sent[t.next].Add(t.rate.Per + min(t.rate.Per/20, longestSlack)); free.After(at) {
		at = free
	}
	if end, ok := ctx.Deadline(); ok && at.After(end) {
		return at, &engine.Error{Code: CodeTimeout, Message: fmt.Sprintf(
			"the rate_limit of component %s, %d in %s, gives it a turn only at %s, when its time is over: give it a longer timeout, or let fewer go at once",
			t.of, t.rate.Count, t.rate.Per, at.UTC().Format(time.RFC3339))}
	}
	t.sent[t.next] = at
	t.next = (t.next + 1) % len(t.sent)
	return at, nil
}
