package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/listener/replay"
)

// Replayed is what was published of a replay. Items are as in its record.
type Replayed struct {
	Seq   uint64               `json:"seq,omitempty"` // of its own record; 0: there is none
	Of    uint64               `json:"replay_of"`
	Items []event.ReceivedItem `json:"items"`
	Waits []*event.Wait        `json:"-"` // who waited for each item; nil: nobody
}

// Replay publishes what a recorded request gives today. Each replay is a delivery of its own, under ids that the first one
// does not have, and leaves a record where anything was
// published. What could not be mapped or stored is told in its item.
func (c *Client) Replay(ctx context.Context, of *event.Received, p *replay.Replay) (*Replayed, error) {
	id := "replay-" + strings.ToLower(ulid.Make().String())
	out := &Replayed{Of: of.Seq, Waits: make([]*event.Wait, len(p.Items))}
	published := false
	for i, item := range p.Items {
		done := event.ReceivedItem{}
		err := item.Err
		if err == nil && item.Run != nil {
			done, err = c.replayRun(ctx, item.Run, of)
		} else if item.Callback != nil {
			item.Callback.ReplayOf, item.Callback.DeliveryID = of.Seq, fmt.Sprintf("%s-%d", id, i)
			done, out.Waits[i], err = c.replayCallback(ctx, item.Callback, err)
		}
		if err != nil {
			done.Error = err.Error()
		} else {
			published = true
		}
		out.Items = append(out.Items, done)
	}
	if !published {
		return out, nil
	}
	ack, err := c.bus.Publish(ctx, bus.ReceivedMessage(&event.Received{
		ID: id, At: time.Now(), Listener: p.Listener, Endpoint: p.Endpoint, Method: of.Method, Path: of.Path, Query: of.Query,
		Verdict: event.VerdictReplayed, ReplayOf: of.Seq, Items: out.Items[:min(len(out.Items), recordItems)],
		More: max(0, len(out.Items)-recordItems),
	}))
	if err != nil {
		return out, fmt.Errorf("what is listed was published, but no record of it could be stored: %w", err)
	}
	out.Seq = ack.Seq
	return out, nil
}

// recordItems bounds the items that are listed in a record.
const recordItems = 100

func (c *Client) replayCallback(ctx context.Context, cb *event.Callback, bad error) (event.ReceivedItem, *event.Wait, error) {
	done := event.ReceivedItem{ID: cb.ID}
	if bad != nil {
		return done, nil, bad
	}
	done.Outcome = cb.Outcome
	wait, err := c.Wait(ctx, cb.ID) // asked before: the callback may end the wait
	if err != nil {
		return done, nil, err
	}
	done.Seq, err = c.Send(ctx, cb)
	return done, wait, err
}

func (c *Client) replayRun(ctx context.Context, r *event.RunRequest, of *event.Received) (event.ReceivedItem, error) {
	r.RunID = strings.ToLower(ulid.Make().String())
	r.MsgID = r.RunID
	done := event.ReceivedItem{Outcome: "run"}
	if _, err := c.bus.PublishRunRequest(ctx, r); err != nil {
		return done, fmt.Errorf("ask for a run of %s for request %d: %w", r.Workflow, of.Seq, err)
	}
	done.Run = r.RunID
	return done, nil
}

// Original gives the record of a request, or of what it is a replay of.
func (c *Client) Original(ctx context.Context, seq uint64) (*event.Received, error) {
	r, err := c.record(ctx, seq)
	if err != nil || r.ReplayOf == 0 {
		return r, err
	}
	return c.record(ctx, r.ReplayOf)
}

// record gives the record of a request as it was stored.
func (c *Client) record(ctx context.Context, seq uint64) (*event.Received, error) {
	m, err := c.bus.At(ctx, subject.StreamReceived, seq)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("there is no request %d", seq),
			"list the requests with `switchback callbacks list`; they are kept for three days, and not at all where the listener says record: off")
	}
	if err != nil {
		return nil, fmt.Errorf("read request %d: %w", seq, err)
	}
	r, err := bus.DecodeReceived(m)
	if err != nil {
		return nil, fmt.Errorf("read request %d: %w", seq, err)
	}
	return r, nil
}
