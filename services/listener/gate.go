package listener

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// gate lets a number of requests through at once. Others wait in line, which is bounded in length and time.
// A nil gate has no limit.
type gate struct {
	slots   chan struct{}
	length  int64
	timeout time.Duration
	waiting atomic.Int64
}

var (
	errQueueFull = errors.New("too many requests are waiting")
	errQueueTime = errors.New("the request has waited too long for its turn")
)

func newGate(slots, length int, timeout time.Duration) *gate {
	if slots <= 0 {
		return nil
	}
	return &gate{slots: make(chan struct{}, slots), length: int64(max(length, 0)), timeout: timeout}
}

// enter takes a slot, which leave gives back.
func (g *gate) enter(ctx context.Context) error {
	if g == nil {
		return nil
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	if g.waiting.Add(1) > g.length {
		g.waiting.Add(-1)
		return errQueueFull
	}
	defer g.waiting.Add(-1)
	timer := time.NewTimer(g.timeout)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return errQueueTime
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) leave() {
	if g != nil {
		<-g.slots
	}
}

// queued is how many wait.
func (g *gate) queued() float64 {
	if g == nil {
		return 0
	}
	return float64(g.waiting.Load())
}
