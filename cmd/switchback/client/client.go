// Package client asks a running system over NATS, as any other NATS client could.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// closeTimeout bounds the goodbye: a person waits.
const closeTimeout = 2 * time.Second

// Client talks to the system behind one NATS.
type Client struct {
	bus *bus.Bus
	url string
}

// New makes a Client of a connection that the caller closes.
func New(b *bus.Bus, url string) *Client { return &Client{bus: b, url: url} }

// Connect connects to the NATS at url.
func Connect(ctx context.Context, url string, login bus.Login) (*Client, error) {
	// Without a deadline the bus tries once: a person would rather know at once.
	b, err := bus.Connect(context.WithoutCancel(ctx), bus.Options{URL: url, Name: "switchback command", Login: login})
	if fault.CodeOf(err) == fault.Unavailable {
		return nil, fault.Wrap(err, fault.Unavailable, "nothing to talk to",
			"start the system with `switchback up`, or say where its NATS is with --nats URL")
	}
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return New(b, url), nil
}

// Close disconnects.
func (c *Client) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := c.bus.Close(ctx); err != nil {
		return fmt.Errorf("disconnect from NATS: %w", err)
	}
	return nil
}

// Provision makes the streams and buckets that are missing.
func (c *Client) Provision(ctx context.Context, layout bus.Layout) error {
	if err := c.bus.Provision(ctx, layout); err != nil {
		return fmt.Errorf("make the streams: %w", err)
	}
	return nil
}

// Survey compares a layout with the streams and buckets that there are.
func (c *Client) Survey(ctx context.Context, layout bus.Layout) ([]bus.Item, error) {
	items, err := c.bus.Survey(ctx, layout)
	if err != nil {
		return nil, fmt.Errorf("look at the streams: %w", err)
	}
	return items, nil
}

// Run gives one run document, whole.
func (c *Client) Run(ctx context.Context, id string) (*event.Run, error) {
	doc, err := c.bus.Run(ctx, id)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, fault.New(fault.NotFound, "there is no run "+id, "list the runs with `switchback runs list`; an ended run is kept for seven days")
	}
	if err != nil {
		return nil, fmt.Errorf("read run %s: %w", id, err)
	}
	return doc.Run, nil
}

// Whole gives the document of a run that was given without its large values, as Runs and Do give it; any other is
// whole already.
func (c *Client) Whole(ctx context.Context, run *event.Run) (*event.Run, error) {
	whole, err := c.bus.Whole(ctx, run)
	if errors.Is(err, bus.ErrNotFound) { // saved once more since
		return c.Run(ctx, run.ID)
	}
	return whole, err
}

// Cancel asks for a run to be cancelled and gives its document.
func (c *Client) Cancel(ctx context.Context, id string) (*event.Run, error) {
	if _, err := c.Run(ctx, id); err != nil {
		return nil, err
	}
	answer, err := c.bus.Request(ctx, subject.RunCancel(id), nil, nil)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "no runner answers", "start one with `switchback up` or `switchback-runner`")
	}
	run, err := decodeAnswer(answer)
	if err != nil {
		return nil, err
	}
	return c.Whole(ctx, run)
}

// Retry asks for an ended run to go on with the jobs that did not complete, and gives its document as it was.
func (c *Client) Retry(ctx context.Context, id string) (*event.Run, error) {
	run, err := c.Run(ctx, id)
	if err != nil {
		return nil, err
	}
	if run.Status != event.StatusFailed && run.Status != event.StatusCancelled {
		return nil, fault.New(fault.Conflict, fmt.Sprintf("run %s is %s: only one that failed or was cancelled goes on", id, run.Status), "")
	}
	// Asking twice for the same end is asking once.
	ack, err := c.bus.PublishRunRequest(ctx, &event.RunRequest{
		RunID: id, Workflow: run.Workflow, Retry: true, MsgID: id + ".retry." + run.EndedAt.Format(time.RFC3339Nano),
	})
	if err != nil {
		return nil, fmt.Errorf("ask for run %s to go on: %w", id, err)
	}
	if ack.Duplicate {
		return nil, fault.New(fault.Conflict, fmt.Sprintf("run %s was asked to go on before, and still stands as %s", id, run.Status),
			"no runner is there, or none can carry it on: see their log and the stream DEAD; what is asked again counts two minutes after the first time")
	}
	return run, nil
}

// decodeAnswer reads a runner's answer to a command: the run document, or what went wrong.
func decodeAnswer(data []byte) (*event.Run, error) {
	var answer struct {
		Run   *event.Run `json:"run"`
		Error string     `json:"error"`
		Code  fault.Code `json:"code"`
	}
	switch err := json.Unmarshal(data, &answer); {
	case err != nil:
		return nil, fault.Wrap(err, fault.Internal, "the runner's answer cannot be read", "")
	case answer.Error != "":
		return nil, fault.New(answer.Code, answer.Error, "")
	case answer.Run == nil:
		return nil, fault.New(fault.Internal, "the runner's answer is neither a run nor an error", "")
	default:
		return answer.Run, nil
	}
}
