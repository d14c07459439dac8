package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Filter chooses runs.
type Filter struct {
	Status   []event.Status // empty: any
	Workflow string         // empty: any
	Limit    int            // 0: all
}

// head is what is read of a run to tell whether it matches, and where it stands in the order.
type head struct {
	Workflow  string       `json:"workflow"`
	Status    event.Status `json:"status"`
	CreatedAt time.Time    `json:"created_at"`
}

func (f Filter) match(h head) bool {
	return (len(f.Status) == 0 || slices.Contains(f.Status, h.Status)) && (f.Workflow == "" || f.Workflow == h.Workflow)
}

// place is what is kept of a run while the others are looked through: there may be very many.
type place struct {
	id      string
	created time.Time
}

// newer is the order of a listing.
func newer(a, b place) int {
	return cmp.Or(b.created.Compare(a.created), strings.Compare(b.id, a.id))
}

// Runs calls f for the runs that match, the newest first, until f returns false. It gives how many match.
// It goes through all runs twice over: once for their places, and then for the documents of those that f is to see,
// so that only one document is held at a time. A run that is too large for a message is given without its large values.
// One whose document cannot be read keeps no other from being given: the error comes at the end, a *UnreadableError.
func (c *Client) Runs(ctx context.Context, filter Filter, f func(run *event.Run) bool) (matching int, err error) {
	var chosen []place
	var broken UnreadableError
	for e, err := range c.bus.Bucket(subject.BucketRuns).All(ctx, "") {
		if err != nil {
			return matching, fmt.Errorf("list the runs: %w", err)
		}
		var h head
		if err := json.Unmarshal(e.Value, &h); err != nil {
			if _, said := bus.DecodeRun(e.Key, e.Value); said != nil { // as everywhere
				err = said
			}
			broken.add(e.Key, err)
			continue
		}
		if !filter.match(h) {
			continue
		}
		matching++
		chosen = append(chosen, place{id: e.Key, created: h.CreatedAt})
		if filter.Limit > 0 && len(chosen) == 2*filter.Limit {
			slices.SortFunc(chosen, newer)
			chosen = chosen[:filter.Limit]
		}
	}
	slices.SortFunc(chosen, newer)
	if filter.Limit > 0 {
		chosen = chosen[:min(filter.Limit, len(chosen))]
	}
	for _, p := range chosen {
		run, _, err := c.bus.Stub(ctx, p.id)
		if errors.Is(err, bus.ErrNotFound) {
			continue // its time was up meanwhile
		}
		if err != nil {
			if fault.CodeOf(err) != fault.Internal {
				return matching, fmt.Errorf("read run %s: %w", p.id, err)
			}
			matching--
			broken.add(p.id, err)
			continue
		}
		if !f(run) {
			return matching, nil
		}
	}
	if len(broken.IDs) > 0 {
		return matching, &broken
	}
	return matching, nil
}

// UnreadableError says which runs or waits could not be listed.
type UnreadableError struct {
	IDs   []string
	first error
}

func (e *UnreadableError) add(id string, err error) {
	e.IDs = append(e.IDs, id)
	if e.first == nil {
		e.first = err
	}
}

func (e *UnreadableError) Error() string {
	if len(e.IDs) == 1 {
		return e.first.Error()
	}
	return fmt.Sprintf("%v; nor those of %d others: %s", e.first, len(e.IDs)-1, strings.Join(e.IDs[1:min(len(e.IDs), 10)], ", "))
}

func (e *UnreadableError) Unwrap() error { return e.first }
