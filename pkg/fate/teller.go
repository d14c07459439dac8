package fate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Teller tells the fates of many callbacks. It remembers what it has read, so it is for one look and not for long.
type Teller struct {
	bus   *bus.Bus
	runs  map[string]*event.Run // nil: there is none
	waits map[string][]span     // of all runs, by the id; nil: not read yet
}

// NewTeller gives a Teller.
func NewTeller(b *bus.Bus) *Teller { return &Teller{bus: b, runs: map[string]*event.Run{}} }

// Tell tells what has become of a callback so far. The errors are those of bus.Bus.Last.
func (t *Teller) Tell(ctx context.Context, cb Callback) (Told, error) {
	key, ended, err := t.key(ctx, cb.ID)
	if err != nil {
		return Told{}, err
	}
	if key == nil {
		// An attempt's own id names its run, and its mark does not stay as long as the callback.
		run, err := t.named(ctx, cb.ID)
		if err != nil || run == nil {
			return Told{Fate: Orphan}, err
		}
		return In(run, cb), nil
	}
	run, err := t.run(ctx, key.Run)
	if err != nil {
		return Told{}, err
	}
	if run == nil {
		return byMark(key, ended, cb), nil
	}
	told := In(run, cb)
	if told.Fate == Matched || told.Fate == Early || strings.HasPrefix(cb.ID, key.Run+".") || !cb.At.Before(key.Since) && told.Fate != Orphan {
		return told, nil
	}
	// Others may have waited for the same id before, and the key tells of the last one only.
	if t.waits == nil {
		if err := t.readAll(ctx); err != nil {
			return Told{}, err
		}
	}
	return judge(t.waits[cb.ID], cb), nil
}

// key gives the wait that lies on an id's key, standing or ended; nil: there is none.
func (t *Teller) key(ctx context.Context, id string) (w *event.Wait, ended bool, err error) {
	m, err := t.bus.Last(ctx, subject.StreamWaits, subject.Wait(id))
	if errors.Is(err, bus.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the wait for %s: %w", id, err)
	}
	w = &event.Wait{}
	_ = json.Unmarshal(m.Data, w) // what another client has left there says nothing
	if w.Run == "" {
		return nil, false, nil
	}
	return w, bus.Removed(m), nil
}

// byMark judges by what is left when the run's document has gone.
func byMark(key *event.Wait, ended bool, cb Callback) Told {
	told := Told{Fate: Duplicate, Run: key.Run, Job: key.Job}
	switch {
	case !ended:
		told.Fate = Pending
	case cb.Seq == key.Used:
		told.Fate = Matched
	case key.Used == 0:
		told.Fate = Late
	}
	return told
}

// named finds the run whose attempt an id is, by the id itself.
func (t *Teller) named(ctx context.Context, id string) (*event.Run, error) {
	for dot := strings.LastIndexByte(id, '.'); dot > 0; dot = strings.LastIndexByte(id[:dot], '.') {
		if run, err := t.run(ctx, id[:dot]); run != nil || err != nil {
			return run, err
		}
	}
	return nil, nil //nolint:nilnil // no run is an answer
}

func (t *Teller) run(ctx context.Context, id string) (*event.Run, error) {
	if run, ok := t.runs[id]; ok {
		return run, nil
	}
	e, err := t.bus.Bucket(subject.BucketRuns).Get(ctx, id)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return nil, fmt.Errorf("read run %s: %w", id, err)
	}
	var run *event.Run
	if err == nil {
		run = &event.Run{}
		if err := json.Unmarshal(e.Value, run); err != nil {
			return nil, fmt.Errorf("read the document of run %s: %w", id, err)
		}
	}
	t.runs[id] = run
	return run, nil
}

// readAll reads which runs have waited for the ids that are no run's own.
func (t *Teller) readAll(ctx context.Context) error {
	all := map[string][]span{}
	for e, err := range t.bus.Bucket(subject.BucketRuns).All(ctx, "") {
		if err != nil {
			return fmt.Errorf("read the runs: %w", err)
		}
		run := &event.Run{}
		if json.Unmarshal(e.Value, run) != nil {
			continue
		}
		for _, s := range spans(run, "") {
			if !strings.HasPrefix(s.id, run.ID+".") {
				all[s.id] = append(all[s.id], s)
			}
		}
	}
	for _, s := range all {
		sortSpans(s)
	}
	t.waits = all
	return nil
}
