package runner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

// crowd is a stream that answers when as many have come as may come at once, and fails when more do.
type crowd struct {
	wait.Bus
	here atomic.Int64
	mu   sync.Mutex
	came int
	full chan struct{}
}

func (c *crowd) KeepCallbacks() time.Duration { return time.Hour }

func (c *crowd) Publish(ctx context.Context, _ *bus.Message) (bus.Ack, error) {
	defer c.here.Add(-1)
	if c.here.Add(1) > sideBySide {
		return bus.Ack{}, errors.New("too many come")
	}
	c.mu.Lock()
	full := c.full
	if c.came++; c.came == sideBySide {
		close(full)
		c.came, c.full = 0, make(chan struct{})
	}
	c.mu.Unlock()
	select {
	case <-full:
		return bus.Ack{}, nil
	case <-ctx.Done():
		return bus.Ack{}, errors.New("the others do not come")
	}
}

// TestWaitsOfOneRunAreMadeSideBySide, and ended so, but not more at once than the bound.
func TestWaitsOfOneRunAreMadeSideBySide(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // for a test that fails
	defer cancel()
	const batches = 3
	c := &crowd{full: make(chan struct{})}
	a := &activation{r: &Runner{waits: wait.New(c)}, ctx: ctx, run: &event.Run{ID: "r", Jobs: map[string]*event.Job{}}}
	for i := range batches * sideBySide {
		job := fmt.Sprintf("j%d", i)
		w := event.Wait{ID: "r." + job, Run: "r", Job: job, Attempt: 1, Deadline: time.Now().Add(time.Hour)}
		a.run.Jobs[job] = &event.Job{Status: event.StatusWaiting, Attempts: []*event.Attempt{{Wait: &event.WaitState{ID: w.ID}}}}
		a.queue = append(a.queue, engine.Park{Wait: w})
		a.ends = append(a.ends, engine.End{Wait: w})
	}
	if err := a.perform(); err != nil {
		t.Error(err)
	}
	if err := a.endWaits(); err != nil {
		t.Error(err)
	}
}
