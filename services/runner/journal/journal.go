// Package journal keeps the run documents: loaded, and saved only when nobody else has saved meanwhile.
package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Revision is a version of a run document; 0 is that of none.
type Revision uint64

// ErrConflict says that the document was saved by someone else meanwhile: load it again.
var ErrConflict = bus.ErrConflict

// Journal keeps run documents. It is safe for concurrent use.
type Journal struct {
	bus     *bus.Bus
	runs    *bus.Bucket
	objects *bus.Objects  // documents that are too large for a message
	keep    time.Duration // how long an ended run is kept
	unsaved time.Duration // the age of an object without a run at which nobody will save that run any more
	recent  *recent
}

// New gives a journal that keeps ended runs for a time.
func New(b *bus.Bus, keep time.Duration) *Journal {
	return &Journal{
		bus: b, runs: b.Bucket(subject.BucketRuns), objects: b.Objects(subject.BucketDocuments), keep: keep, unsaved: unsavedAge, recent: newRecent(),
	}
}

// Recall gives the document as this journal last saw it, or loads it. It may be out of date: a Save tells, and what is
// decided without a Save needs Load. The document is shared: it must not be changed.
func (j *Journal) Recall(ctx context.Context, id string) (*event.Run, Revision, error) {
	if r, ok := j.recent.get(id); ok && r.run != nil {
		return r.run, r.rev, nil
	}
	return j.Load(ctx, id)
}

// Glance is Recall for who needs no values: of a document that lies in the object store it gives the stub. Nil where
// there is none. What it reads is remembered.
func (j *Journal) Glance(ctx context.Context, id string) (*event.Run, error) {
	if r, ok := j.recent.get(id); ok && r.run != nil {
		return r.run, nil
	}
	e, err := j.runs.Get(ctx, id)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil //nolint:nilnil // no run is an answer, not a failure
	}
	var run *event.Run
	if err == nil {
		run, err = bus.DecodeRun(id, e.Value)
	}
	if err != nil {
		return nil, fmt.Errorf("load run %s: %w", id, err)
	}
	// Who glances at a run that another runner has saved is about to go on with it: it is not read and decoded again then.
	if run.Object == nil && len(e.Value) <= recentSize && !run.Status.Ended() {
		j.recent.put(id, remembered{run: run, rev: Revision(e.Revision), size: len(e.Value)})
	}
	return run, nil
}

// Recent gives the document as this journal last saw it, or nil where it does not remember it.
func (j *Journal) Recent(id string) *event.Run {
	r, _ := j.recent.get(id)
	return r.run
}

// Same tells whether a run's document is still the one of a revision.
func (j *Journal) Same(ctx context.Context, id string, rev Revision) (bool, error) {
	e, err := j.runs.Get(ctx, id)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return rev == 0, nil
	case err != nil:
		return false, fmt.Errorf("load run %s: %w", id, err)
	default:
		return Revision(e.Revision) == rev, nil
	}
}

// Load gives the document as it is, or nil and revision 0 where there is none.
func (j *Journal) Load(ctx context.Context, id string) (*event.Run, Revision, error) {
	doc, err := j.bus.Run(ctx, id)
	if errors.Is(err, bus.ErrNotFound) {
		j.recent.forget(id)
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("load run %s: %w", id, err)
	}
	rev := Revision(doc.Revision)
	if doc.Object != nil {
		j.recent.put(id, remembered{rev: rev, object: doc.Object.Name})
	} else if was, ok := j.recent.get(id); ok && was.rev != rev {
		j.recent.forget(id)
	}
	return doc.Run, rev, nil
}

// Save stores the document when its revision is still rev, else it gives ErrConflict. Of a run that has ended, and whose
// end is to be told (ReplyTo), it gives as well what is stored in the bucket runs: the document, or its stub.
func (j *Journal) Save(ctx context.Context, run *event.Run, rev Revision) (Revision, []byte, error) {
	buf := takeBuffer()
	defer buf.giveBack()
	var err error
	if buf.data, err = run.AppendJSON(buf.data); err != nil {
		return 0, nil, fmt.Errorf("write the document of run %s: %w", run.ID, err)
	}
	data := buf.data
	var ttl time.Duration
	if run.Status.Ended() {
		ttl = j.keep
	}
	if len(data) > j.bus.Inline() {
		return j.saveLarge(ctx, run, rev, data, ttl)
	}
	next, err := j.update(ctx, run, rev, data, ttl)
	if err != nil {
		return 0, nil, err
	}
	r := remembered{rev: next}
	if len(data) <= recentSize {
		r.run, r.size = run, len(data)
	}
	j.remember(run, r)
	if run.ReplyTo == "" || !run.Status.Ended() {
		return next, nil, nil
	}
	return next, bytes.Clone(data), nil
}

// remember keeps in mind what was saved, of runs that go on.
func (j *Journal) remember(run *event.Run, r remembered) {
	if run.Status.Ended() {
		j.recent.forget(run.ID)
	} else {
		j.recent.put(run.ID, r)
	}
}

// update stores a value for a run, and deletes the object that it replaces.
func (j *Journal) update(ctx context.Context, run *event.Run, rev Revision, data []byte, ttl time.Duration) (Revision, error) {
	was, _ := j.recent.get(run.ID)
	next, err := j.runs.Update(ctx, run.ID, data, uint64(rev), ttl)
	if err != nil {
		j.recent.forget(run.ID)
		return 0, fmt.Errorf("save run %s: %w", run.ID, err)
	}
	if was.object != "" && was.rev == rev {
		// Nobody refers to it any more. Should this fail, Sweep finds it.
		_ = j.objects.Delete(ctx, was.object)
	}
	return Revision(next), nil
}
