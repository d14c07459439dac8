package journal

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/switchbackhq/switchback/pkg/event"
)

// A runner remembers the documents that it has saved last, of runs that go on: they are those that go on soonest, and
// need not be read then. It is a copy that may be out of date, and may be forgotten at any time.

// Bounds of what is remembered. A document takes two to three times its JSON in memory.
const (
	recentRuns  = 4096
	recentBytes = 4 << 20  // of JSON, of all documents together
	recentSize  = 64 << 10 // of JSON, of one: a larger one is read again when it is needed
)

// remembered is a document as it was seen last. Of a large one only its revision and its object are remembered.
type remembered struct {
	run    *event.Run
	rev    Revision
	object string
	size   int // of the run's JSON
}

// recent is what is remembered. It is safe for concurrent use.
type recent struct {
	mu    sync.Mutex
	runs  *simplelru.LRU[string, remembered]
	bytes int
}

func newRecent() *recent {
	r := &recent{}
	r.runs, _ = simplelru.NewLRU(recentRuns, func(_ string, gone remembered) { r.bytes -= gone.size }) // fails only for a size below 1
	return r
}

// get gives what is remembered of a run, and makes it the last to be forgotten.
func (r *recent) get(id string) (remembered, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs.Get(id)
}

func (r *recent) put(id string, seen remembered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs.Remove(id)
	r.runs.Add(id, seen)
	for r.bytes += seen.size; r.bytes > recentBytes; {
		r.runs.RemoveOldest()
	}
}

func (r *recent) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs.Remove(id)
}
