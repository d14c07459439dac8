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
func (c *Client) Runs(ctx context.Context, filter Filter, f func(run *event.Run) bool) (matching int, err error) {
	var chosen []place
	for e, err := range c.bus.Bucket(subject.BucketRuns).All(ctx, "") {
		if err != nil {
			return matching, fmt.Errorf("list the runs: %w", err)
		}
		var h head
		if err := json.Unmarshal(e.Value, &h); err != nil {
			return matching, unreadable(e, err)
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
			return matching, fmt.Errorf("read run %s: %w", p.id, err)
		}
		if !f(run) {
			break
		}
	}
	return matching, nil
}
