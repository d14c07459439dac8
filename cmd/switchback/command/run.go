package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/supervise"
)

type runCommand struct {
	Workflow string   `arg:"" optional:"" help:"Workflow to run; the only one when left out."`
	Input    string   `placeholder:"JSON" help:"Input of the run: a JSON object, @FILE, or - for standard input."`
	Pairs    []string `name:"set-input" short:"i" sep:"none" placeholder:"K=V" help:"A value of the input, over --input: JSON where it is that, else text. k.l=v goes into an object."`
	Detach   bool     `short:"d" help:"Print the run's id and do not wait."`
	following
	system
	format
}

// following are the flags of a command that waits for a run.
type following struct {
	Timeout duration `placeholder:"D" help:"Wait no longer than this, such as 30s. The run goes on; the exit code is 4."`
	Quiet   bool     `short:"q" help:"Show no progress."`
}

// exits explains the exit codes.
const exits = "The output is printed as JSON, with -o json the whole run document. Exit codes: 0 completed, 1 failed, 3 cancelled, 4 timed out waiting."

// Help explains the exit codes.
func (*runCommand) Help() string { return exits }

// Run asks for a run.
func (r *runCommand) Run(ctx context.Context, s *streams) error {
	input, err := runInput(r.Input, r.Pairs, s.in)
	if err != nil {
		return err
	}
	workflow := r.Workflow
	if workflow == "" {
		workflow = compose.DefaultID("workflow")
	}
	return r.with(ctx, func(c *client.Client) error {
		if r.Detach {
			return r.detach(ctx, s, c, workflow, input)
		}
		return r.follow(ctx, s, r.json(), func(ctx context.Context, view client.View) (string, *event.Run, error) {
			return c.Do(ctx, workflow, input, view)
		})
	})
}

func (r *runCommand) detach(ctx context.Context, s *streams, c *client.Client, workflow string, input json.RawMessage) error {
	id, err := c.Start(ctx, workflow, input)
	if err != nil {
		return err
	}
	return r.print(s, map[string]string{"id": id}, func() error {
		fmt.Fprintln(s.out, id)
		return nil
	})
}

// errWaited is the cause of the end of --timeout.
var errWaited = errors.New("waited long enough")

// follow shows a run until it has ended, and prints what came of it.
func (f *following) follow(ctx context.Context, s *streams, asJSON bool, do func(context.Context, client.View) (string, *event.Run, error)) error {
	if f.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(f.Timeout), errWaited)
		defer cancel()
	}
	var view show.Follower = show.Quiet{}
	if !f.Quiet {
		view = show.Follow(s.err)
	}
	id, run, err := do(ctx, view)
	view.Close()
	if run != nil && asJSON {
		if err := show.JSON(s.out, run); err != nil {
			return err
		}
	}
	if err != nil {
		return f.unfinished(id, err)
	}
	if run.Status == event.StatusCompleted && !asJSON {
		output := run.Output
		if len(output) == 0 {
			output = json.RawMessage("null")
		}
		return show.JSON(s.out, output)
	}
	return outcome(run)
}

// unfinished tells that the run goes on when only its watching has ended.
func (f *following) unfinished(id string, err error) error {
	hint := fmt.Sprintf("the run goes on: follow it with `switchback runs watch %s`, stop it with `switchback runs cancel %s`", id, id)
	if errors.Is(err, errWaited) {
		return &exit{exitTimeout, fault.New(fault.Timeout, fmt.Sprintf("run %s has not ended after %s", id, time.Duration(f.Timeout)), hint)}
	}
	if signal, ok := errors.AsType[*supervise.SignalError](err); ok {
		return &exit{signal.ExitCode(), fault.New(fault.Cancelled, "no longer watching run "+id, hint)}
	}
	return err
}

// outcome gives an ended run's error: none when it completed.
func outcome(run *event.Run) error {
	if run.Status == event.StatusCompleted {
		return nil
	}
	code, message := 1, "run "+run.ID+" "+string(run.Status)
	if run.Status == event.StatusRejected {
		message = "run " + run.ID + " was rejected"
	}
	if run.Status == event.StatusCancelled {
		code, message = exitCancelled, "run "+run.ID+" was cancelled"
	}
	if run.Error != nil && run.Error.Message != "" {
		message += ": "
		if run.Error.Job != "" {
			message += "job " + run.Error.Job + ": "
		}
		message += run.Error.Message
	}
	return &exit{code, fault.New(fault.Internal, show.Clean(message), "see all of it with `switchback runs show "+quote(run.ID)+"`")}
}
