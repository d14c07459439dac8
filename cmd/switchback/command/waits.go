package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/pkg/event"
)

type waitsCommand struct {
	List    waitsListCommand    `cmd:"" default:"withargs" help:"List what runs wait for, the longest wait first."`
	Resolve waitsResolveCommand `cmd:"" help:"End a wait as if its callback had come."`
	Fail    waitsFailCommand    `cmd:"" help:"End a wait as failed."`
}

type waitsListCommand struct {
	Limit *int `placeholder:"N" help:"At most so many, 0 for all (default: 50 in a table, all as JSON)."`
	system
	format
}

// Run lists waits.
func (w *waitsListCommand) Run(ctx context.Context, s *streams) error {
	limit, err := atMost(w.Limit, w.json())
	if err != nil {
		return err
	}
	return w.with(ctx, func(c *client.Client) error {
		waits, total, err := c.Waits(ctx, limit)
		var broken *client.UnreadableError // told when the others are listed
		if err != nil && !errors.As(err, &broken) {
			return err
		}
		if w.json() {
			listed := list(s.out, func(write func(any) error) error {
				for _, wait := range waits {
					if err := write(wait); err != nil {
						return err
					}
				}
				return nil
			})
			return cmp.Or(listed, err)
		}
		if len(waits) == 0 && broken == nil {
			fmt.Fprintln(s.err, "Nothing waits.")
			return nil
		}
		now := time.Now()
		rows := make([][]string, len(waits))
		for i, wait := range waits {
			rows[i] = []string{wait.ID, wait.Run, wait.Job, show.Relative(wait.Since, now), show.Relative(wait.Deadline, now)}
		}
		if len(rows) > 0 {
			if err := show.Table(s.out, []string{"ID", "RUN", "JOB", "SINCE", "DEADLINE"}, rows); err != nil {
				return err
			}
		}
		more(s.err, total-len(waits))
		return err
	})
}

type waitsResolveCommand struct {
	ID     string `arg:"" help:"Id that is waited for."`
	Result string `arg:"" optional:"" name:"json" default:"null" help:"Result of the wait: JSON, @FILE, or - for standard input."`
	system
	format
}

// Run resolves a wait.
func (w *waitsResolveCommand) Run(ctx context.Context, s *streams) error {
	result, err := jsonArgument(w.Result, s.in)
	if err != nil {
		return err
	}
	return w.with(ctx, func(c *client.Client) error {
		return end(ctx, s, c, &w.format, &event.Callback{ID: w.ID, Outcome: event.Succeeded, Result: result}, "resolved")
	})
}

type waitsFailCommand struct {
	ID      string `arg:"" help:"Id that is waited for."`
	Message string `arg:"" optional:"" default:"failed by hand" help:"What went wrong."`
	system
	format
}

// Run fails a wait.
func (w *waitsFailCommand) Run(ctx context.Context, s *streams) error {
	return w.with(ctx, func(c *client.Client) error {
		return end(ctx, s, c, &w.format, &event.Callback{ID: w.ID, Outcome: event.Failed, Error: w.Message}, "failed")
	})
}

func end(ctx context.Context, s *streams, c *client.Client, f *format, cb *event.Callback, what string) error {
	wait, err := c.End(ctx, cb)
	if err != nil {
		return err
	}
	return f.print(s, wait, func() error {
		fmt.Fprintf(s.out, "%s is %s, for job %s of run %s.\n", show.Clean(cb.ID), what, show.Clean(wait.Job), show.Clean(wait.Run))
		return nil
	})
}
