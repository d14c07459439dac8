// Package workers runs short pieces of work on goroutines that stay for the next piece: a goroutine that has grown its
// stack for one message need not grow it anew for each.
package workers

import "sync"

// Pool runs work. Its owner closes it when nobody calls Go any more.
type Pool struct {
	work    chan func()
	resting chan struct{} // a place for each goroutine that waits for work
	closed  chan struct{}
	running sync.WaitGroup
}

// New gives a pool of which at most resting goroutines wait for work; as many as there is work run.
func New(resting int) *Pool {
	return &Pool{work: make(chan func()), resting: make(chan struct{}, resting), closed: make(chan struct{})}
}

// Go runs f in a goroutine. It never waits. A panic of f is not caught.
func (p *Pool) Go(f func()) {
	select {
	case p.work <- f:
	default:
		p.running.Go(func() { p.run(f) })
	}
}

func (p *Pool) run(f func()) {
	for f != nil {
		f()
		f = p.next()
	}
}

// next waits for work, unless enough others do, or the pool is closed; then there is none.
func (p *Pool) next() (f func()) {
	select {
	case p.resting <- struct{}{}:
		defer func() { <-p.resting }()
	default:
		return nil
	}
	select {
	case f = <-p.work:
	case <-p.closed:
	}
	return f
}

// Close returns when all work is done and no goroutine of the pool is left.
func (p *Pool) Close() {
	close(p.closed)
	p.running.Wait()
}
