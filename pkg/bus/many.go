package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// NextMany gives the first n messages on subjects that match, whose sequences are from or later, in order. It sees every
// write acknowledged before; but what was removed or replaced a moment ago may still be there, before what has replaced it. Most
// of it is read from any copy of the stream, and what that one does not know yet from its leader.
func (b *Bus) NextMany(ctx context.Context, stream, filter string, from uint64, n int) ([]*Stored, error) {
	deadline := time.Now().Add(b.o.PublishTimeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	many, err := b.nextMany(ctx, stream, filter, max(from, 1), n)
	if err != nil || len(many) > 0 && !b.replicated(ctx, stream) {
		return many, err
	}
	for len(many) < n { // a copy that lags knows all up to some message
		if len(many) > 0 {
			from = many[len(many)-1].Seq + 1
		}
		one, err := b.Next(ctx, stream, filter, from)
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		many = append(many, one)
	}
	return many, nil
}

func (b *Bus) nextMany(ctx context.Context, stream, filter string, from uint64, n int) ([]*Stored, error) {
	body, err := json.Marshal(struct {
		Seq     uint64 `json:"seq"`
		NextFor string `json:"next_by_subj"`
		Batch   int    `json:"batch"`
	}{from, filter, n})
	if err != nil {
		return nil, fmt.Errorf("write the request for messages: %w", err)
	}
	inbox := b.nc.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, b.readError(err, stream, filter)
	}
	defer func() { _ = sub.Unsubscribe() }() // of a connection that may be gone
	if err := b.nc.PublishMsg(&nats.Msg{Subject: b.apiPrefix + "DIRECT.GET." + stream, Reply: inbox, Data: body}); err != nil {
		return nil, b.readError(err, stream, filter)
	}
	var many []*Stored
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, b.readError(err, stream, filter)
		}
		switch s := status(m); s {
		case "":
			one, err := direct(m)
			if err != nil {
				return nil, b.readError(err, stream, filter)
			}
			many = append(many, one)
		case "204", "404", statusNoResponders: // the end, or nobody who can tell: who asks makes sure
			return many, nil
		default:
			return nil, b.readError(fmt.Errorf("status %s %s", s, m.Header.Get("Description")), stream, filter)
		}
	}
}
