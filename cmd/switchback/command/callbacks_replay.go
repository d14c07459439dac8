package command

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/listener/replay"
)

type callbacksReplayCommand struct {
	Seq    uint64 `arg:"" help:"Number of the request, as listed."`
	DryRun bool   `help:"Print what would be published, and publish nothing."`
	ID     string `name:"id" placeholder:"ID" help:"Publish the callback for this id instead of what identify_by gives."`
	Item   *int   `placeholder:"N" help:"Only this item of a bulk request, counted from 0 as shown."`
	Force  bool   `help:"Also what was refused for its sender, and with *** for what the record does not hold."`
	files
	system
	format
}

// Help explains what a replay is.
func (*callbacksReplayCommand) Help() string {
	return "The recorded request is mapped again by the compose file as it is now, and what it gives is published: a callback, or for a trigger a new run. " +
		"Variables are read here, and the signature is not verified again. A wait that has ended stays as it is, however often its callback is replayed."
}

// mapped is an item of a dry run.
type mapped struct {
	Subject  string          `json:"subject,omitempty"`
	ID       string          `json:"id,omitempty"`
	Workflow string          `json:"workflow,omitempty"`
	Outcome  event.Outcome   `json:"outcome,omitempty"`
	Message  string          `json:"message,omitempty"` // of a failure
	Payload  json.RawMessage `json:"payload,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// Run maps a request again and publishes what it gives.
func (c *callbacksReplayCommand) Run(ctx context.Context, s *streams) error {
	doc, err := compose.Load(c.options())
	if err != nil {
		return fmt.Errorf("load the compose file: %w", err)
	}
	return c.with(ctx, func(cl *client.Client) error {
		r, err := cl.Original(ctx, c.Seq)
		if err != nil {
			return err
		}
		p, err := replay.Map(r, replay.Options{Document: doc, Getenv: os.LookupEnv, ID: c.ID, Item: c.Item, Force: c.Force})
		if err != nil {
			return err
		}
		if len(p.Items) == 1 && p.Items[0].Err != nil {
			return fault.Wrap(p.Items[0].Err, fault.Unusable, fmt.Sprintf("request %d gives nothing", r.Seq), mend)
		}
		if c.DryRun {
			return c.dry(s, r, p)
		}
		done, err := cl.Replay(ctx, r, p)
		if done == nil {
			return err
		}
		if printed := c.print(s, done, func() error { return replayed(s, done) }); printed != nil {
			return printed
		}
		if err != nil {
			return err
		}
		return refusedItems(r, done)
	})
}

// dry prints what would be published.
func (c *callbacksReplayCommand) dry(s *streams, r *event.Received, p *replay.Replay) error {
	items := make([]mapped, len(p.Items))
	bad := 0
	for i, item := range p.Items {
		switch {
		case item.Err != nil:
			items[i].Error = item.Err.Error()
			bad++
		case item.Run != nil:
			items[i] = mapped{Subject: subject.RunRequest(item.Run.Workflow), Workflow: item.Run.Workflow, Payload: item.Run.Input}
		default:
			cb := item.Callback
			items[i] = mapped{Subject: subject.Callback(cb.ID), ID: cb.ID, Outcome: cb.Outcome, Message: cb.Error, Payload: cb.Result}
		}
	}
	err := c.print(s, struct {
		Of       uint64   `json:"replay_of"`
		Listener string   `json:"listener"`
		Endpoint string   `json:"endpoint"`
		Items    []mapped `json:"items"`
	}{r.Seq, p.Listener, p.Endpoint, items}, func() error {
		for _, item := range items {
			switch {
			case item.Error != "":
				fmt.Fprintf(s.out, "nothing: %s\n", show.Clean(item.Error))
				continue
			case item.Message != "":
				fmt.Fprintf(s.out, "%s %s: %s\n", item.Subject, item.Outcome, show.Clean(item.Message))
			default:
				fmt.Fprintf(s.out, "%s %s\n", item.Subject, item.Outcome)
			}
			if err := show.JSON(s.out, item.Payload); err != nil {
				return err
			}
		}
		fmt.Fprintln(s.err, "Nothing was published.")
		return nil
	})
	if err == nil && bad > 0 {
		return unusableItems(r, bad, len(items))
	}
	return err
}

// replayed says what was published.
func replayed(s *streams, done *client.Replayed) error {
	for i := range done.Items {
		item := &done.Items[i]
		switch {
		case item.Error != "":
			fmt.Fprintf(s.out, "Not published: %s\n", show.Clean(show.Item(item)))
		case item.ID == "":
			fmt.Fprintf(s.out, "Run %s is asked for.\n", item.Run)
		case done.Waits[i] != nil:
			fmt.Fprintf(s.out, "Callback %d for %s (%s) is published. Run %s waits for it with job %s.\n",
				item.Seq, show.Clean(item.ID), item.Outcome, show.Clean(done.Waits[i].Run), show.Clean(done.Waits[i].Job))
		default:
			fmt.Fprintf(s.out, "Callback %d for %s (%s) is published. Nobody waits for it: a wait that has ended stays as it is, and one that is still to come takes it.\n",
				item.Seq, show.Clean(item.ID), item.Outcome)
		}
	}
	if done.Seq != 0 {
		fmt.Fprintf(s.err, "The replay is request %d of `switchback callbacks list`.\n", done.Seq)
	}
	return nil
}

// refusedItems is an error where not all was published.
func refusedItems(r *event.Received, done *client.Replayed) error {
	bad := 0
	for _, item := range done.Items {
		if item.Error != "" {
			bad++
		}
	}
	if bad == 0 {
		return nil
	}
	return unusableItems(r, bad, len(done.Items))
}

func unusableItems(r *event.Received, bad, of int) error {
	return fault.New(fault.Unusable, fmt.Sprintf("%d of the %d items of request %d give nothing", bad, of, r.Seq), mend)
}

// mend is what helps where a request gives nothing.
const mend = "correct the endpoint in the file, or give the callback an id with --id"
