package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
)

type runsCommand struct {
	List   runsListCommand   `cmd:"" default:"withargs" help:"List runs, the newest first."`
	Show   runsShowCommand   `cmd:"" help:"Show one run: its jobs, attempts, waits and output."`
	Watch  runsWatchCommand  `cmd:"" help:"Follow one run to its end, and print its output."`
	Cancel runsCancelCommand `cmd:"" help:"Cancel a run."`
	Retry  runsRetryCommand  `cmd:"" help:"Let a run that failed go on with the jobs that did not complete."`
}

// listed is how many lines a table has unless asked otherwise: as many as a person looks through.
const listed = 50

type runsListCommand struct {
	Status   []string `placeholder:"STATUS" help:"Only runs with this status: running, waiting, completed, failed, cancelled or rejected. Several with commas."`
	Workflow string   `placeholder:"ID" help:"Only runs of this workflow."`
	Limit    *int     `placeholder:"N" help:"At most so many, 0 for all (default: 50 in a table, all as JSON)."`
	system
	format
}

var runStatuses = map[event.Status]bool{
	event.StatusRunning: true, event.StatusWaiting: true, event.StatusCompleted: true,
	event.StatusFailed: true, event.StatusCancelled: true, event.StatusRejected: true,
}

// Run lists runs.
func (r *runsListCommand) Run(ctx context.Context, s *streams) error {
	limit, err := atMost(r.Limit, r.json())
	if err != nil {
		return err
	}
	filter := client.Filter{Workflow: r.Workflow, Limit: limit}
	for _, status := range r.Status {
		if !runStatuses[event.Status(status)] {
			return fault.New(fault.Usage, "there is no status "+quote(status), "write running, waiting, completed, failed, cancelled or rejected")
		}
		filter.Status = append(filter.Status, event.Status(status))
	}
	return r.with(ctx, func(c *client.Client) error {
		if r.json() {
			var broken *client.UnreadableError
			err := list(s.out, func(write func(any) error) error {
				var failed error
				_, err := c.Runs(ctx, filter, func(run *event.Run) bool {
					whole, err := c.Whole(ctx, run)
					if fault.CodeOf(err) == fault.NotFound {
						return true // its time was up meanwhile
					}
					if failed = err; failed == nil {
						failed = write(whole)
					}
					return failed == nil
				})
				if failed != nil {
					return failed
				}
				if errors.As(err, &broken) {
					return nil // told when the list is whole
				}
				return err
			})
			if err == nil && broken != nil {
				err = broken
			}
			return err
		}
		return r.table(ctx, s, c, filter)
	})
}

func (r *runsListCommand) table(ctx context.Context, s *streams, c *client.Client, filter client.Filter) error {
	now := time.Now()
	var rows [][]string
	matching, err := c.Runs(ctx, filter, func(run *event.Run) bool {
		took := "-"
		if !run.EndedAt.IsZero() {
			took = show.Took(run.EndedAt.Sub(run.CreatedAt))
		}
		rows = append(rows, []string{run.ID, run.Workflow, string(run.Status), show.Relative(run.CreatedAt, now), took, note(run, now)})
		return true
	})
	var broken *client.UnreadableError
	if err != nil && !errors.As(err, &broken) {
		return err
	}
	if len(rows) == 0 && broken != nil {
		return broken
	}
	if len(rows) == 0 {
		fmt.Fprintln(s.err, "No runs.")
		return nil
	}
	if err := show.Table(s.out, []string{"RUN", "WORKFLOW", "STATUS", "ASKED FOR", "TOOK", "NOTE"}, rows); err != nil {
		return err
	}
	more(s.err, matching-len(rows))
	if broken != nil {
		return broken
	}
	return nil
}

// note says in a few words why a run failed, or what it waits for.
func note(run *event.Run, now time.Time) string {
	if run.Error != nil {
		return run.Error.Message
	}
	if run.Queued() {
		return "waits for " + show.Queued(run, now)
	}
	if run.Status == event.StatusWaiting {
		for _, r := range show.Rows(run, now) {
			if r.Status == event.StatusWaiting {
				return r.Job + ": " + r.Text
			}
		}
	}
	return ""
}

// atMost reads --limit.
func atMost(limit *int, asJSON bool) (int, error) {
	switch {
	case limit != nil && *limit < 0:
		return 0, fault.New(fault.Usage, "--limit is below zero", "0 lists all")
	case limit != nil:
		return *limit, nil
	case asJSON:
		return 0, nil
	default:
		return listed, nil
	}
}

// more tells of what a table left out.
func more(w io.Writer, n int) {
	if n > 0 {
		fmt.Fprintf(w, "%d more: --limit 0 lists all.\n", n)
	}
}

// list writes a JSON list item by item: it may be a long one.
func list(w io.Writer, each func(write func(any) error) error) error {
	l := &jsonList{w: w}
	if err := each(l.add); err != nil {
		return err
	}
	return l.end()
}

type runsShowCommand struct {
	ID string `arg:"" help:"Run to show."`
	system
	format
}

// Run shows a run.
func (r *runsShowCommand) Run(ctx context.Context, s *streams) error {
	return r.with(ctx, func(c *client.Client) error {
		run, err := c.Run(ctx, r.ID)
		if err != nil {
			return err
		}
		return r.print(s, run, func() error { return show.Run(s.out, run, time.Now()) })
	})
}

type runsWatchCommand struct {
	ID string `arg:"" help:"Run to follow."`
	following
	system
	format
}

// Help explains the exit codes.
func (*runsWatchCommand) Help() string { return exits }

// Run follows a run that was asked for before.
func (r *runsWatchCommand) Run(ctx context.Context, s *streams) error {
	return r.with(ctx, func(c *client.Client) error {
		return r.follow(ctx, s, r.json(), func(ctx context.Context, view client.View) (string, *event.Run, error) {
			run, err := c.Watch(ctx, r.ID, view)
			return r.ID, run, err
		})
	})
}

type runsCancelCommand struct {
	ID string `arg:"" help:"Run to cancel."`
	system
	format
}

// Run cancels a run.
func (r *runsCancelCommand) Run(ctx context.Context, s *streams) error {
	return r.with(ctx, func(c *client.Client) error {
		run, err := c.Cancel(ctx, r.ID)
		if err != nil {
			return err
		}
		if run.Status != event.StatusCancelled {
			return fault.New(fault.Conflict, fmt.Sprintf("run %s is %s already", show.Clean(run.ID), run.Status), "")
		}
		return r.print(s, run, func() error {
			fmt.Fprintf(s.out, "Run %s is cancelled.\n", show.Clean(run.ID))
			return nil
		})
	})
}

type runsRetryCommand struct {
	ID string `arg:"" help:"Run to go on with."`
	system
	format
}

// Run makes a failed run go on.
func (r *runsRetryCommand) Run(ctx context.Context, s *streams) error {
	return r.with(ctx, func(c *client.Client) error {
		run, err := c.Retry(ctx, r.ID)
		if err != nil {
			return err
		}
		return r.print(s, run, func() error {
			fmt.Fprintf(s.out, "Run %s goes on: `switchback runs watch %s`\n", show.Clean(run.ID), show.Clean(run.ID))
			return nil
		})
	})
}
