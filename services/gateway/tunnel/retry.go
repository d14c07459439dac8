package tunnel

import (
	"math/rand/v2"
	"time"
)

// Policy says when a tunnel is tried again.
type Policy struct {
	First time.Duration // the first pause after a failure of the network; zero: 500 ms
	Max   int           // how often to try again; zero: for ever
}

// span is how long the pauses of a class grow: each is a random part of what doubles from first to most.
type span struct{ first, most time.Duration }

var spans = map[Class]span{
	Network:  {500 * time.Millisecond, time.Minute},
	Remote:   {time.Second, time.Minute},
	Conflict: {2 * time.Second, time.Minute},
	Quota:    {2 * time.Minute, 15 * time.Minute},
}

// After gives the pause after a failure, the attempts-th in a row (the first is 0); negative means not again.
func (p Policy) After(err *Error, attempts int) time.Duration {
	return p.after(err, attempts, rand.Float64()) //nolint:gosec // a pause is no secret
}

// after takes chance, in [0, 1), for full jitter: many tunnels that fail at once must not come back at once.
func (p Policy) after(err *Error, attempts int, chance float64) time.Duration {
	if err.Class.Permanent() || p.Max > 0 && attempts >= p.Max {
		return -1
	}
	s, ok := spans[err.Class]
	if !ok {
		s = spans[Remote]
	}
	if err.Class == Network && p.First > 0 {
		s.first, s.most = p.First, max(s.most, p.First)
	}
	bound := s.first
	for range attempts {
		if bound *= 2; bound >= s.most {
			bound = s.most
			break
		}
	}
	pause := time.Duration(chance * float64(bound))
	if err.Class == Quota {
		pause = bound/2 + pause/2 // a quota does not forgive a lucky draw
	}
	return max(pause, err.RetryAfter)
}
