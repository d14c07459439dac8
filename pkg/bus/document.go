package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// A run document that is too large for a message lies in the object store, and the bucket runs holds a stub of it. A new
// object is written before each save, and the one before is deleted after it: so a stub that was read may be out of date
// by the time its object is asked for.

// Document is a run document as it is stored.
type Document struct {
	Run      *event.Run // whole
	Revision uint64
	Object   *event.Object // where it lies; nil: in the bucket runs itself
}

// Run reads the run document with this id, or gives ErrNotFound. It sees every save acknowledged before.
func (b *Bus) Run(ctx context.Context, id string) (*Document, error) {
	return document(ctx, b.o.PublishTimeout, func() (*event.Run, uint64, error) { return b.Stub(ctx, id) }, func(run *event.Run) (*event.Run, error) { return b.Whole(ctx, run) })
}

// document reads stubs until the object of one is there. That it is not is an answer only when its stub, read anew after that,
// is still the one, and has been for a time: reading a large object may itself take longer than that, and what was saved
// meanwhile has taken it away.
func document(ctx context.Context, patience time.Duration, stub func() (*event.Run, uint64, error), whole func(*event.Run) (*event.Run, error)) (*Document, error) {
	var (
		seen   uint64
		missed error // what was not there of the revision seen
		since  time.Time
		wait   backoff
	)
	for {
		run, rev, err := stub()
		if err != nil {
			return nil, err
		}
		switch {
		case rev != seen: // a run that is saved again and again is there
			seen, missed, wait = rev, nil, backoff{}
		case missed != nil && time.Since(since) >= patience:
			return nil, fault.New(fault.Internal, "the document of run "+run.ID+" is not where its stub says: "+missed.Error(), "")
		}
		all, err := whole(run)
		if err == nil {
			return &Document{Run: all, Revision: rev, Object: run.Object}, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if missed == nil {
			since = time.Now()
		}
		missed = err
		if err := wait.sleep(ctx, time.Now().Add(time.Hour)); err != nil {
			return nil, fmt.Errorf("read the document of run %s: %w", run.ID, err)
		}
	}
}

// Stub reads what the bucket runs holds of a run: the document, or of one that is too large for a message a stub, which
// has no large values.
func (b *Bus) Stub(ctx context.Context, id string) (*event.Run, uint64, error) {
	e, err := b.Bucket(subject.BucketRuns).Get(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	run, err := DecodeRun(id, e.Value)
	if err != nil {
		return nil, 0, err
	}
	return run, e.Revision, nil
}

// Whole gives the document that a stub stands for; any other document is whole already. ErrNotFound: the run has been
// saved again since the stub was read.
func (b *Bus) Whole(ctx context.Context, run *event.Run) (*event.Run, error) {
	if run.Object == nil {
		return run, nil
	}
	data, err := b.Objects(run.Object.Bucket).Get(ctx, run.Object)
	if err != nil {
		return nil, fmt.Errorf("read the document of run %s: %w", run.ID, err)
	}
	return DecodeRun(run.ID, data)
}

// DecodeRun reads a run document, or a stub, as it is stored.
func DecodeRun(id string, data []byte) (*event.Run, error) {
	run := new(event.Run)
	if err := json.Unmarshal(data, run); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the document of run "+id+" cannot be read",
			"this switchback may be older than the one that wrote it: compare `switchback version`")
	}
	return run, nil
}
