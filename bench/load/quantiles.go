package load

import (
	"slices"
	"time"
)

// Quantiles of what was timed: exact, from every single one.
type Quantiles struct {
	P50, P99, Max time.Duration
}

// clock keeps what one worker saw. One goroutine writes it.
type clock struct {
	whole, tail []time.Duration
	failed      int64
	failure     string
}

func (c *clock) add(whole, tail time.Duration) {
	c.whole = append(c.whole, whole)
	c.tail = append(c.tail, tail)
}

func (c *clock) fail(err error) {
	if c.failed == 0 {
		c.failure = err.Error()
	}
	c.failed++
}

func sum(clocks []clock, elapsed time.Duration) Result {
	r := Result{Elapsed: elapsed}
	var whole, tail []time.Duration
	for i := range clocks {
		c := &clocks[i]
		whole, tail = append(whole, c.whole...), append(tail, c.tail...)
		r.Failed += c.failed
		if r.Failure == "" {
			r.Failure = c.failure
		}
	}
	r.Done = int64(len(whole))
	r.Whole, r.Tail = quantiles(whole), quantiles(tail)
	return r
}

// quantiles sorts all.
func quantiles(all []time.Duration) Quantiles {
	if len(all) == 0 {
		return Quantiles{}
	}
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[min(int(q*float64(len(all))), len(all)-1)] }
	return Quantiles{P50: at(0.50), P99: at(0.99), Max: all[len(all)-1]}
}
