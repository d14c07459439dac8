package runner

import (
	"context"
	"sync"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// arrivals keep the requests that come to this runner in their order until each has asked for its turn: they are worked on
// side by side, and a later one would get there first now and then.
type arrivals struct {
	mu   sync.Mutex
	here map[*bus.Delivery]arrival
}

type arrival struct {
	workflow string
	passed   chan struct{}
}

func newArrivals() *arrivals { return &arrivals{here: map[*bus.Delivery]arrival{}} }

// arrived notes a request for a workflow with a limit, in the order of arrival.
func (r *Runner) arrived(d *bus.Delivery) {
	id, err := subject.ParseRunRequest(d.Subject)
	if err != nil {
		return
	}
	if w := r.definitions.current().doc.Workflow(id); w != nil && w.Concurrency != nil {
		r.arrivals.enter(id, d)
	}
}

func (a *arrivals) enter(workflow string, d *bus.Delivery) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.here[d] = arrival{workflow, make(chan struct{})}
}

// pass says that a request has asked for its turn, or needs none.
func (a *arrivals) pass(d *bus.Delivery) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if one, ok := a.here[d]; ok {
		close(one.passed)
		delete(a.here, d)
	}
}

// wait waits for those before a request.
func (a *arrivals) wait(ctx context.Context, d *bus.Delivery) error {
	for {
		before := a.before(d)
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

// before gives what tells that one of those before a request has passed; nil: there is none.
func (a *arrivals) before(d *bus.Delivery) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	for other, one := range a.here {
		if one.workflow == a.here[d].workflow && other.Seq < d.Seq {
			return one.passed
		}
	}
	return nil
}
