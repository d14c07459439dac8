package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// patience is how long a run may not begin before the person who asked for it is told.
const patience = 3 * time.Second

// Start asks for a run and gives its id. It returns when NATS holds the request.
func (c *Client) Start(ctx context.Context, workflow string, input json.RawMessage) (runID string, err error) {
	runID = strings.ToLower(ulid.Make().String())
	return runID, c.start(ctx, runID, workflow, input)
}

func (c *Client) start(ctx context.Context, runID, workflow string, input json.RawMessage) error {
	_, err := c.bus.PublishRunRequest(ctx, &event.RunRequest{RunID: runID, Workflow: workflow, Input: input, MsgID: runID})
	if err != nil {
		return fmt.Errorf("ask for a run: %w", err)
	}
	return nil
}

// View is told of a run while it goes on.
type View interface {
	Update(run *event.Run)
	Say(text string)
}

// Do asks for a run and follows it to its end. It gives the last document that it saw, which is nil when no
// runner has taken the request, also when ctx ends before the run does. The view sees no large values.
func (c *Client) Do(ctx context.Context, workflow string, input json.RawMessage, view View) (runID string, run *event.Run, err error) {
	runID = strings.ToLower(ulid.Make().String())
	run, err = c.follow(ctx, runID, view,
		func(ctx context.Context) error { return c.start(ctx, runID, workflow, input) },
		func(context.Context) error {
			view.Say("No runner has taken the run yet: is `switchback up` or a `switchback-runner` running on this NATS? Still waiting.")
			return nil
		})
	return runID, run, err
}

// Watch follows a run that was asked for before to its end, as Do does. One that was asked for just now may be a moment in
// coming: only then it is said that there is none.
func (c *Client) Watch(ctx context.Context, runID string, view View) (*event.Run, error) {
	return c.follow(ctx, runID, view,
		func(context.Context) error { return nil },
		func(ctx context.Context) error {
			_, err := c.Run(ctx, runID)
			return err
		})
}

// follow follows a run that begin asks for. Where nothing is seen of it for a while, missing says what of it.
func (c *Client) follow(ctx context.Context, runID string, view View, begin, missing func(context.Context) error) (*event.Run, error) {
	f := &follow{notices: make(chan event.Notice, 64), documents: make(chan *event.Run, 1), failed: make(chan error, 1)}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()

	// Both look before the request is there to be taken, so that nothing is missed. Notices are live only and make the
	// view quicker; the document is the truth, so a notice that finds no room is no loss.
	stop, err := c.bus.Subscribe(ctx, subject.RunEvents(runID), "", f.notice)
	if err != nil {
		return nil, fmt.Errorf("follow run %s: %w", runID, err)
	}
	defer stop()
	watching.Go(func() {
		f.failed <- c.bus.Bucket(subject.BucketRuns).Watch(ctx, subject.Key(runID), func(e *bus.Entry) { f.document(ctx, e) })
	})
	if err := begin(ctx); err != nil {
		return nil, err
	}
	run, err := f.run(ctx, runID, view, missing)
	if err == nil {
		run, err = c.Whole(ctx, run)
	}
	return run, err
}

// follow brings the two sources of a run's state together.
type follow struct {
	notices   chan event.Notice
	documents chan *event.Run
	failed    chan error
}

func (f *follow) notice(_ context.Context, n *bus.Note) {
	var notice event.Notice
	if json.Unmarshal(n.Data, &notice) != nil {
		return
	}
	select {
	case f.notices <- notice:
	default:
	}
}

func (f *follow) document(ctx context.Context, e *bus.Entry) {
	if e == nil || e.Deleted {
		return
	}
	run, err := bus.DecodeRun(e.Key, e.Value)
	if err != nil {
		return // a later document may be readable; the run's end is, or --timeout ends this
	}
	select {
	case f.documents <- run:
	case <-ctx.Done():
	}
}

func (f *follow) run(ctx context.Context, runID string, view View, missing func(context.Context) error) (run *event.Run, err error) {
	idle := time.NewTimer(patience)
	defer idle.Stop()
	for {
		select {
		case run = <-f.documents:
			idle.Stop()
			view.Update(run)
			if run.Status.Ended() {
				return run, nil
			}
		case n := <-f.notices:
			if next := progressed(run, &n); next != nil {
				run = next
				view.Update(run)
			}
		case <-idle.C:
			if err := missing(ctx); err != nil {
				return nil, err
			}
		case err := <-f.failed:
			if err == nil {
				err = context.Cause(ctx)
			}
			return run, fmt.Errorf("follow run %s: %w", runID, err)
		case <-ctx.Done():
			return run, fmt.Errorf("follow run %s: %w", runID, context.Cause(ctx))
		}
	}
}

// progressed gives the run with a notice's progress in it, or nil when the notice brings none. Only progress is
// taken from notices: all else may be older than the document.
func progressed(run *event.Run, n *event.Notice) *event.Run {
	if run == nil || n.Event != event.JobProgress {
		return nil
	}
	j, ok := run.Jobs[n.Job]
	if !ok || j.Status.Ended() || len(j.Attempts) > 0 && j.Attempts[len(j.Attempts)-1].Number != n.Attempt {
		return nil
	}
	next, job := *run, *j
	job.Progress = n.Progress
	next.Jobs = maps.Clone(run.Jobs)
	next.Jobs[n.Job] = &job
	return &next
}
