// Package journal keeps the run documents: loaded, and saved only when nobody else has saved meanwhile.
package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
)

// Revision is a version of a run document; 0 is that of none.
type Revision uint64

// ErrConflict says that the document was saved by someone else meanwhile: load it again.
var ErrConflict = bus.ErrConflict

// Bucket is where the documents lie. Its reads see every write that was acknowledged before.
type Bucket interface {
	Get(ctx context.Context, key string) (*bus.Entry, error)
	Update(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error)
}

// Journal keeps run documents. It is safe for concurrent use.
type Journal struct {
	bucket Bucket
	keep   time.Duration // how long an ended run is kept
	recent *lru.Cache[string, remembered]
}

type remembered struct {
	run *event.Run
	rev Revision
}

// recentRuns bounds the documents kept in memory: those that were saved last are those that go on soonest.
const recentRuns = 1024

// New gives a journal that keeps ended runs for a time.
func New(bucket Bucket, keep time.Duration) *Journal {
	recent, _ := lru.New[string, remembered](recentRuns) // fails only for a size below 1
	return &Journal{bucket: bucket, keep: keep, recent: recent}
}

// Recall gives the document as this journal last saw it, or loads it. It may be out of date: a Save tells, and what is
// decided without a Save needs Load. The document is shared: it must not be changed.
func (j *Journal) Recall(ctx context.Context, id string) (*event.Run, Revision, error) {
	if r, ok := j.recent.Get(id); ok {
		return r.run, r.rev, nil
	}
	return j.Load(ctx, id)
}

// Recent gives the document as this journal last saw it, or nil where it does not remember it.
func (j *Journal) Recent(id string) *event.Run {
	r, _ := j.recent.Get(id)
	return r.run
}

// Load gives the document as it is, or nil and revision 0 where there is none.
func (j *Journal) Load(ctx context.Context, id string) (*event.Run, Revision, error) {
	e, err := j.bucket.Get(ctx, id)
	if errors.Is(err, bus.ErrNotFound) {
		j.recent.Remove(id)
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("load run %s: %w", id, err)
	}
	run := new(event.Run)
	if err := json.Unmarshal(e.Value, run); err != nil {
		return nil, 0, fmt.Errorf("read the document of run %s: %w", id, err)
	}
	return run, Revision(e.Revision), nil
}

// Save stores the document when its revision is still rev, else it gives ErrConflict. It gives the document as stored
// as well.
func (j *Journal) Save(ctx context.Context, run *event.Run, rev Revision) (Revision, []byte, error) {
	data, err := json.Marshal(run)
	if err != nil {
		return 0, nil, fmt.Errorf("write the document of run %s: %w", run.ID, err)
	}
	var ttl time.Duration
	if run.Status.Ended() {
		ttl = j.keep
	}
	next, err := j.bucket.Update(ctx, run.ID, data, uint64(rev), ttl)
	if err != nil {
		j.recent.Remove(run.ID)
		return 0, nil, fmt.Errorf("save run %s: %w", run.ID, err)
	}
	if run.Status.Ended() {
		j.recent.Remove(run.ID)
	} else {
		j.recent.Add(run.ID, remembered{run, Revision(next)})
	}
	return Revision(next), data, nil
}
