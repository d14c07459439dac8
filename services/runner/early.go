package runner

import (
	"context"

	"github.com/switchbackhq/switchback/pkg/event"
)

// A callback may overtake its wait: an outside service calls back while its own answer, or the saving of it, is still
// being worked on. Where that is going on in this same runner, the two need not fight for the document: the callback
// waits for the activation, and the activation looks for the callback before it makes the wait. It is a shortcut only:
// what decides is the document and the condition on the wait, as everywhere.

// performance is an invocation that is performed here and may yet have to wait.
type performance struct {
	by     *activation
	called bool          // a callback has come; guarded by Runner.mu
	used   uint64        // the last callback that was there before the wait; read when by is done
	stands chan struct{} // closed when the wait has been made
}

// performs notes that an invocation is being performed here.
func (a *activation) performs(id string) {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	if a.done == nil {
		a.done = make(chan struct{})
	}
	p := &performance{by: a, stands: make(chan struct{})}
	a.invocations = append(a.invocations, id)
	a.r.performing[id] = p
}

// performance gives what is known of an invocation that this activation performs, or nil.
func (a *activation) performance(id string) (p *performance, called bool) {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	if p = a.r.performing[id]; p == nil || p.by != a {
		return nil, false
	}
	called, p.called = p.called, false // looked for once: then the wait is made as usual
	return p, called
}

// performed forgets invocations: they wait, or the activation is over.
func (a *activation) performed(ids ...string) {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	for _, id := range ids {
		if p := a.r.performing[id]; p != nil && p.by == a {
			delete(a.r.performing, id)
			close(p.stands)
		}
	}
}

// meet leaves a callback to the activation that performs its invocation here, if there is one, and tells whether that
// has taken it, for good. Not too many may wait so, for each holds a message.
func (r *Runner) meet(ctx context.Context, cb *event.Callback) (taken bool) {
	r.mu.Lock()
	p := r.performing[cb.ID]
	if p == nil || r.meeting >= r.cfg.MaxConcurrentRuns/2 {
		r.mu.Unlock()
		return false
	}
	p.called = true
	r.meeting++
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.meeting--
		r.mu.Unlock()
	}()
	select {
	case <-p.by.done:
		return p.by.settled && p.used >= cb.Seq
	case <-p.stands:
		return false
	case <-ctx.Done():
		return false
	}
}
