package workers_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/workers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// All work is done, however little may rest, and nothing is left after Close.
func TestEverythingRuns(t *testing.T) {
	for _, resting := range []int{0, 1, 64} {
		p := workers.New(resting)
		var done atomic.Int64
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for range 500 {
					p.Go(func() { done.Add(1) })
				}
			})
		}
		callers.Wait()
		p.Close()
		if done.Load() != 8*500 {
			t.Errorf("resting %d: %d pieces of work were done of %d", resting, done.Load(), 8*500)
		}
	}
}

// Go does not wait for those that are at work.
func TestGoNeverWaits(*testing.T) {
	p := workers.New(1)
	const n = 100
	var all sync.WaitGroup
	all.Add(n)
	for range n {
		p.Go(func() {
			all.Done()
			all.Wait() // goes on only when all are at work at once
		})
	}
	p.Close()
}
