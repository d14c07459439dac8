package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Received calls f with the records of requests, the newest first, until f says stop: those with the verdict, or all
// where it is empty.
func (c *Client) Received(ctx context.Context, verdict string, f func(*event.Received) (goOn bool)) error {
	first, last, err := c.bus.Span(ctx, subject.StreamReceived)
	if err != nil {
		return fmt.Errorf("list the requests: %w", err)
	}
	for seq := last; seq >= max(first, 1); seq-- {
		m, err := c.bus.At(ctx, subject.StreamReceived, seq)
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list the requests: %w", err)
		}
		r, err := bus.DecodeReceived(m)
		if err != nil || verdict != "" && r.Verdict != verdict {
			continue // what a foreign client has put there is no request
		}
		if !f(r) {
			return nil
		}
	}
	return nil
}

// ReceivedAt gives the record with the sequence.
func (c *Client) ReceivedAt(ctx context.Context, seq uint64) (*event.Received, error) {
	m, err := c.bus.At(ctx, subject.StreamReceived, seq)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("there is no request %d", seq), "list the requests with `switchback callbacks list`; they are kept for three days")
	}
	if err != nil {
		return nil, fmt.Errorf("read request %d: %w", seq, err)
	}
	return bus.DecodeReceived(m)
}
