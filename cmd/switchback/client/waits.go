package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Waits gives the waits for callbacks, those that wait longest first, at most limit of them (0: all), and how many there are.
// One that cannot be read keeps no other from being given: the error is a *UnreadableError then, beside the others.
func (c *Client) Waits(ctx context.Context, limit int) (waits []*event.Wait, total int, err error) {
	var broken UnreadableError
	longest := func(a, b *event.Wait) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.ID, b.ID))
	}
	for e, err := range c.bus.Bucket(subject.BucketWaits).All(ctx, "") {
		if err != nil {
			return nil, total, fmt.Errorf("list the waits: %w", err)
		}
		w, err := decodeWait(e)
		if err != nil {
			broken.add(e.Key, err)
			continue
		}
		if w.Timer {
			continue // for time alone: nobody can end it
		}
		total++
		waits = append(waits, w)
		if limit > 0 && len(waits) == 2*limit { // there may be very many
			slices.SortFunc(waits, longest)
			waits = waits[:limit]
		}
	}
	slices.SortFunc(waits, longest)
	if limit > 0 {
		waits = waits[:min(limit, len(waits))]
	}
	if len(broken.IDs) > 0 {
		return waits, total, &broken
	}
	return waits, total, nil
}

// Wait gives the wait for an id, or nil when nobody waits for it.
func (c *Client) Wait(ctx context.Context, id string) (*event.Wait, error) {
	e, err := c.bus.Bucket(subject.BucketWaits).Get(ctx, id)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil //nolint:nilnil // no wait is an answer, not a failure
	}
	if err != nil {
		return nil, fmt.Errorf("read wait %s: %w", id, err)
	}
	w, err := decodeWait(e)
	if err != nil || w.Timer {
		return nil, err
	}
	return w, nil
}

func decodeWait(e *bus.Entry) (*event.Wait, error) {
	w := &event.Wait{}
	if err := json.Unmarshal(e.Value, w); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the wait "+e.Key+" cannot be read", "look at it with `nats kv get waits`")
	}
	return w, nil
}

// End ends a wait with a callback. When nobody waits for the id, nothing is sent.
func (c *Client) End(ctx context.Context, cb *event.Callback) (*event.Wait, error) {
	w, err := c.Wait(ctx, cb.ID)
	if err != nil {
		return nil, err
	}
	if w == nil {
		return nil, fault.New(fault.NotFound, "nobody waits for "+cb.ID,
			"see who waits for what with `switchback waits list`; `switchback callbacks send` leaves a callback for a wait that is still to come")
	}
	_, err = c.Send(ctx, cb)
	return w, err
}

// Send stores a callback, whether somebody waits for it or not, and gives its place in the stream.
func (c *Client) Send(ctx context.Context, cb *event.Callback) (seq uint64, err error) {
	ack, err := c.bus.PublishCallback(ctx, cb)
	if err != nil {
		return 0, fmt.Errorf("send a callback for %s: %w", cb.ID, err)
	}
	return ack.Seq, nil
}
