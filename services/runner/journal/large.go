package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nuid"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
)

// A document that is too large for a message is written as an object, under a name that none has had before; then the
// bucket runs is given a stub that refers to it, by the same compare-and-swap that every save is; then the object before
// it is deleted. Whoever dies in between leaves an object that no stub refers to. It does no harm, and Sweep removes it.

const (
	// objectSlack is how much longer an ended run's object is kept than its stub.
	objectSlack = time.Hour
	// unsavedAge is the age of an object without a run at which nobody will save that run any more.
	unsavedAge = 7 * 24 * time.Hour
)

func (j *Journal) saveLarge(ctx context.Context, run *event.Run, rev Revision, data []byte, ttl time.Duration) (Revision, []byte, error) {
	keep := ttl
	if keep > 0 {
		keep += objectSlack
	}
	object, err := j.objects.Put(ctx, run.ID+"."+nuid.Next(), data, keep)
	if err != nil {
		return 0, nil, fmt.Errorf("save run %s: %w", run.ID, err)
	}
	stub, err := j.stub(run, object)
	if err != nil {
		return 0, nil, err
	}
	next, err := j.update(ctx, run, rev, stub, ttl)
	if errors.Is(err, ErrConflict) {
		_ = j.objects.Delete(ctx, object.Name) // nothing refers to it; Sweep finds it otherwise
	}
	if err != nil {
		return 0, nil, err // in doubt: the stub may be there
	}
	j.remember(run, remembered{rev: next, object: object.Name})
	return next, stub, nil
}

// stub writes a document's stub: with its jobs, when these fit.
func (j *Journal) stub(run *event.Run, object *event.Object) ([]byte, error) {
	stub := run.Stub(object)
	data, err := stub.AppendJSON(nil)
	if err == nil && len(data) > j.bus.Inline() {
		stub.Jobs = nil
		data, err = stub.AppendJSON(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("write the stub of run %s: %w", run.ID, err)
	}
	return data, nil
}

// Sweep removes the objects that no document refers to and that are older than the age given, and tells how many. The
// age is only for not disturbing saves that are under way: that no save can still refer to an object is made sure of.
func (j *Journal) Sweep(ctx context.Context, age time.Duration) (removed int, err error) {
	names, err := j.objects.Names(ctx)
	if err != nil {
		return 0, fmt.Errorf("list the objects of run documents: %w", err)
	}
	for _, name := range names {
		gone, err := j.sweep(ctx, name, age)
		if err != nil {
			return removed, fmt.Errorf("sweep the object %s: %w", name, err)
		}
		if gone {
			removed++
		}
	}
	return removed, nil
}

func (j *Journal) sweep(ctx context.Context, name string, age time.Duration) (gone bool, err error) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return false, nil // not ours
	}
	id := name[:dot]
	e, err := j.runs.Get(ctx, id)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		// Never saved, or expired: then the object has a time of its own.
		age = max(age, j.unsaved)
	case err != nil:
		return false, err
	default:
		run, err := bus.DecodeRun(id, e.Value)
		if err != nil || run.Object != nil && run.Object.Name == name {
			return false, nil //nolint:nilerr // not to be judged by us
		}
	}
	since, err := j.objects.Since(ctx, name)
	if errors.Is(err, bus.ErrNotFound) {
		return false, nil
	}
	if err != nil || time.Since(since) < age {
		return false, err
	}
	if e != nil {
		gone, err = j.fence(ctx, e)
	} else {
		gone, err = j.absent(ctx, id)
	}
	if !gone {
		return false, err
	}
	return true, j.objects.Delete(ctx, name)
}

// absent makes sure that a run has no document. That a read finds none is not enough: a server that has been deposed as the
// stream's leader, and does not know yet, answers by what it has. So the deletion of what is not there is stored, under the
// condition that it is not there: only the real leader, with most of the servers behind it, takes that.
func (j *Journal) absent(ctx context.Context, id string) (bool, error) {
	err := j.runs.DeleteAt(ctx, id, 0)
	if errors.Is(err, ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// fence stores what a key holds once more. Whoever has written an object for a save of the revision before finds a
// conflict now, however long it has slept; and for the new revision there will be new objects.
func (j *Journal) fence(ctx context.Context, e *bus.Entry) (done bool, err error) {
	run, err := bus.DecodeRun(e.Key, e.Value)
	if err != nil {
		return false, err
	}
	var ttl time.Duration
	if run.Status.Ended() {
		if ttl = time.Until(run.EndedAt.Add(j.keep)); ttl < time.Second {
			return false, nil // it goes at any moment
		}
	}
	_, err = j.runs.Update(ctx, e.Key, e.Value, e.Revision, ttl)
	if errors.Is(err, ErrConflict) {
		return false, nil // saved just now: next time
	}
	return err == nil, err
}
