package command

import (
	"context"
	"fmt"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/pkg/event"
)

type callbacksCommand struct {
	List   callbacksListCommand   `cmd:"" default:"withargs" help:"List what the listeners were sent, the newest first."`
	Show   callbacksShowCommand   `cmd:"" help:"Show one request: what came, and what became of it."`
	Replay callbacksReplayCommand `cmd:"" help:"Map a request again, by the file as it is now, and publish what it gives."`
	Send   callbacksSendCommand   `cmd:"" help:"Send a callback for an id, whether somebody waits for it or not."`
}

type callbacksSendCommand struct {
	ID      string `arg:"" help:"Id that the callback is for."`
	Result  string `arg:"" optional:"" name:"json" default:"null" help:"Its result: JSON, @FILE, or - for standard input."`
	Outcome string `enum:"succeeded,failed,progress" default:"succeeded" help:"succeeded, failed or progress."`
	Error   string `placeholder:"MESSAGE" help:"What went wrong, with --outcome failed."`
	system
	format
}

// sent is the answer of callbacks send as JSON.
type sent struct {
	ID   string      `json:"id"`
	Seq  uint64      `json:"seq"`
	Wait *event.Wait `json:"wait"` // null when nobody waits yet
}

// Run sends a callback.
func (c *callbacksSendCommand) Run(ctx context.Context, s *streams) error {
	result, err := jsonArgument(c.Result, s.in)
	if err != nil {
		return err
	}
	return c.with(ctx, func(cl *client.Client) error {
		// Asked before: the callback may end the wait.
		wait, err := cl.Wait(ctx, c.ID)
		if err != nil {
			return err
		}
		seq, err := cl.Send(ctx, &event.Callback{ID: c.ID, Outcome: event.Outcome(c.Outcome), Result: result, Error: c.Error})
		if err != nil {
			return err
		}
		return c.print(s, sent{ID: c.ID, Seq: seq, Wait: wait}, func() error {
			who := "Nobody waits for it yet: it is kept for a wait that is still to come."
			if wait != nil {
				who = fmt.Sprintf("Run %s waits for it with job %s.", show.Clean(wait.Run), show.Clean(wait.Job))
			}
			fmt.Fprintf(s.out, "Callback %d for %s is stored. %s\n", seq, show.Clean(c.ID), who)
			return nil
		})
	})
}
