// Package load makes bounded load and times it: so many at once, for so long or so often, as fast as they are answered or at a given rate.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// maxFailures ends a load early: it is broken, and a number from it would say nothing.
const maxFailures = 100

// Plan bounds a load.
type Plan struct {
	AtOnce   int           // how many at once
	Duration time.Duration // none is begun after it; 0: Count alone is the bound
	Count    int64         // none is begun after so many; 0: Duration alone is the bound
	// Rate is how many are due each second. Time is then counted from when each was due, so that a stall is seen in
	// all that it delays. 0: each follows the one before it at once.
	Rate float64
}

// Result is what came of a load.
type Result struct {
	Done    int64
	Failed  int64
	Failure string        // the first one
	Elapsed time.Duration // from the first begun to the last done
	Whole   Quantiles     // from begun (or due) to done
	Tail    Quantiles     // of the part that the worker timed itself
}

// PerSecond is the rate at which they were done.
func (r *Result) PerSecond() float64 { return float64(r.Done) / r.Elapsed.Seconds() }

// Err is an error when any of them failed: numbers of a load that failed are not shown.
func (r *Result) Err() error {
	switch {
	case r.Failed > 0:
		return fmt.Errorf("%d of %d failed, the first with: %s", r.Failed, r.Done+r.Failed, r.Failure)
	case r.Done == 0:
		return errors.New("nothing was done in time")
	default:
		return nil
	}
}

// worker does one at a time. n is unique within the load generator's life.
type worker interface {
	do(ctx context.Context, n int64) (tail time.Duration, err error)
	close() error
}

// run puts the workers, of which there are plan.AtOnce, under the plan's load. next gives each its number.
func run(ctx context.Context, plan Plan, workers []worker, next *atomic.Int64) Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg      sync.WaitGroup
		tickets atomic.Int64
		failed  atomic.Int64
		begun   = time.Now()
		clocks  = make([]clock, len(workers))
	)
	for i, w := range workers {
		wg.Go(func() {
			c := &clocks[i]
			for ctx.Err() == nil {
				ticket := tickets.Add(1) - 1
				if plan.Count > 0 && ticket >= plan.Count {
					return
				}
				start := time.Now()
				if plan.Rate > 0 {
					start = begun.Add(time.Duration(float64(ticket) / plan.Rate * float64(time.Second)))
				}
				if plan.Duration > 0 && start.Sub(begun) >= plan.Duration {
					return
				}
				if !sleepUntil(ctx, start) {
					return
				}
				tail, err := w.do(ctx, next.Add(1))
				if ctx.Err() != nil {
					return // cut off: neither done nor failed
				}
				if err != nil {
					c.fail(err)
					if failed.Add(1) >= maxFailures {
						cancel()
					}
					continue
				}
				c.add(time.Since(start), tail)
			}
		})
	}
	wg.Wait()
	return sum(clocks, time.Since(begun))
}

func sleepUntil(ctx context.Context, t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
