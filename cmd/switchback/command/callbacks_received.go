package command

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
)

type callbacksListCommand struct {
	Limit   *int   `placeholder:"N" help:"At most so many, 0 for all (default: 50 in a table, all as JSON)."`
	Verdict string `placeholder:"VERDICT" help:"Only those with this verdict: accepted, progress, handshake, unauthorized, unprocessable, replayed, …"`
	Fate    string `enum:",matched,early,duplicate,late,orphan,pending" default:"" placeholder:"FATE" help:"Only this fate: matched, early, duplicate, late, orphan or pending."`
	system
	format
}

// Run lists what the listeners were sent, the newest first.
func (c *callbacksListCommand) Run(ctx context.Context, s *streams) error {
	limit, err := atMost(c.Limit, c.json())
	if err != nil {
		return err
	}
	return c.with(ctx, func(cl *client.Client) error {
		var all []*event.Received
		err := cl.Received(ctx, c.Verdict, func(r *event.Received) bool {
			if !c.wants(r) {
				return true
			}
			all = append(all, r)
			return limit == 0 || len(all) < limit
		})
		if err != nil {
			return err
		}
		if c.json() {
			return list(s.out, func(write func(any) error) error {
				for _, r := range all {
					if err := write(r); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if len(all) == 0 {
			fmt.Fprintln(s.err, "No request is recorded.")
			return nil
		}
		now := time.Now()
		rows := make([][]string, len(all))
		for i, r := range all {
			rows[i] = []string{
				strconv.FormatUint(r.Seq, 10), show.Relative(r.At, now), r.Verdict, strconv.Itoa(r.Status), r.Method + " " + r.Path, receivedIDs(r),
				show.Fates(r),
			}
			if r.Status == 0 {
				rows[i][3] = ""
			}
		}
		return show.Table(s.out, []string{"SEQ", "AT", "VERDICT", "STATUS", "REQUEST", "IDS", "FATE"}, rows)
	})
}

// wants tells whether a request is to be listed. An orphan that somebody has replayed needs nobody any more.
func (c *callbacksListCommand) wants(r *event.Received) bool {
	return c.Fate == "" || slices.ContainsFunc(r.Items, func(item event.ReceivedItem) bool {
		return item.Fate == c.Fate && (c.Fate != string(fate.Orphan) || len(r.ReplayedBy) == 0)
	})
}

// receivedIDs names the first ids of a request; items without one are told by show.
func receivedIDs(r *event.Received) string {
	var ids []string
	for _, item := range r.Items {
		if id := cmp.Or(item.ID, item.Run); id != "" {
			ids = append(ids, id)
		}
	}
	const named = 3
	if more := len(ids) + r.More - named; more > 0 {
		ids = append(ids[:min(named, len(ids))], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(ids, ", ")
}

type callbacksShowCommand struct {
	Seq uint64 `arg:"" help:"Number of the request, as listed."`
	system
	format
}

// shown is a request as JSON: with its body, as text where it is one.
type shown struct {
	*event.Received

	Body       *string `json:"body,omitempty"`
	BodyBase64 []byte  `json:"body_base64,omitempty"`
}

// Run shows one request.
func (c *callbacksShowCommand) Run(ctx context.Context, s *streams) error {
	return c.with(ctx, func(cl *client.Client) error {
		r, err := cl.ReceivedAt(ctx, c.Seq)
		if err != nil {
			return err
		}
		v := shown{Received: r}
		if text := string(r.Body); utf8.ValidString(text) {
			v.Body = &text
		} else {
			v.BodyBase64 = r.Body
		}
		return c.print(s, v, func() error { return show.Received(s.out, r, time.Now()) })
	})
}
