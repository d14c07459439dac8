package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Received calls f with the records of requests and what has become of their callbacks, the newest first, until f says
// stop: those with the verdict, or all where it is empty.
func (c *Client) Received(ctx context.Context, verdict string, f func(*event.Received) (goOn bool)) error {
	first, last, err := c.bus.Span(ctx, subject.StreamReceived)
	if err != nil {
		return fmt.Errorf("list the requests: %w", err)
	}
	teller := fate.NewTeller(c.bus)
	replays := map[uint64][]uint64{} // newer than what they are replays of, so they are seen first
	for seq := last; seq >= max(first, 1); seq-- {
		m, err := c.bus.At(ctx, subject.StreamReceived, seq)
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list the requests: %w", err)
		}
		r, err := bus.DecodeReceived(m)
		if err != nil {
			continue // what a foreign client has put there is no request
		}
		if r.ReplayOf != 0 {
			replays[r.ReplayOf] = append(replays[r.ReplayOf], r.Seq)
		}
		r.ReplayedBy = replays[r.Seq]
		if verdict != "" && r.Verdict != verdict {
			continue
		}
		if err := teller.Fill(ctx, r); err != nil {
			return fmt.Errorf("tell what became of request %d: %w", r.Seq, err)
		}
		if !f(r) {
			return nil
		}
	}
	return nil
}

// ReceivedAt gives the record with the sequence, and what has become of its callbacks.
func (c *Client) ReceivedAt(ctx context.Context, seq uint64) (*event.Received, error) {
	r, err := c.record(ctx, seq)
	if err != nil {
		return nil, err
	}
	if err := fate.NewTeller(c.bus).Fill(ctx, r); err != nil {
		return nil, fmt.Errorf("tell what became of request %d: %w", seq, err)
	}
	r.ReplayedBy, err = c.replaysOf(ctx, seq)
	return r, err
}

// replaysOf lists the records of a request's replays, the newest first.
func (c *Client) replaysOf(ctx context.Context, of uint64) ([]uint64, error) {
	var all []uint64
	for from := of + 1; ; {
		m, err := c.bus.Next(ctx, subject.StreamReceived, subject.ReceivedWith(event.VerdictReplayed), from)
		if errors.Is(err, bus.ErrNotFound) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look for replays of request %d: %w", of, err)
		}
		if r, err := bus.DecodeReceived(m); err == nil && r.ReplayOf == of {
			all = append([]uint64{m.Seq}, all...)
		}
		from = m.Seq + 1
	}
}
