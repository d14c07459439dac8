package runner

import (
	"context"
	"sync"
)

// arrivals keep the requests that come to this runner in their order until each has asked for its turn: they are worked on
// side by side, and a later one would get there first now and then.
type arrivals struct {
	mu   sync.Mutex
	here map[string]map[uint64]chan struct{} // by workflow and place of the request
}

func newArrivals() *arrivals { return &arrivals{here: map[string]map[uint64]chan struct{}{}} }

// enter notes a request; passed is called when it has asked for its turn, or will not.
func (a *arrivals) enter(workflow string, seq uint64) (passed func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.here[workflow]
	if all == nil {
		all = map[uint64]chan struct{}{}
		a.here[workflow] = all
	}
	if all[seq] != nil {
		return func() {} // delivered again while it is here
	}
	gone := make(chan struct{})
	all[seq] = gone
	return sync.OnceFunc(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		close(gone)
		delete(all, seq)
		if len(all) == 0 && len(a.here[workflow]) == 0 {
			delete(a.here, workflow)
		}
	})
}

// wait waits for those before a request.
func (a *arrivals) wait(ctx context.Context, workflow string, seq uint64) error {
	for {
		var before chan struct{}
		a.mu.Lock()
		for other, gone := range a.here[workflow] {
			if other < seq {
				before = gone
				break
			}
		}
		a.mu.Unlock()
		if before == nil {
			return nil
		}
		select {
		case <-before:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
