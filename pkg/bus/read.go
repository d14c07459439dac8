package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Last gives the last message on subject, or ErrNotFound. It sees every write acknowledged before.
func (b *Bus) Last(ctx context.Context, stream, subject string) (*Stored, error) {
	return b.read(ctx, stream, subject, func(s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetLastMsgForSubject(ctx, subject)
	})
}

// Next gives the first message on subject whose sequence is from or later, or ErrNotFound.
// It sees every write acknowledged before.
func (b *Bus) Next(ctx context.Context, stream, subject string, from uint64) (*Stored, error) {
	return b.read(ctx, stream, subject, func(s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, max(from, 1), jetstream.WithGetMsgSubject(subject))
	})
}

// Get gives the message at seq, or ErrNotFound.
func (b *Bus) Get(ctx context.Context, stream string, seq uint64) (*Stored, error) {
	return b.read(ctx, stream, "", func(s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, seq)
	})
}

func (b *Bus) read(ctx context.Context, stream, subject string, get func(jetstream.Stream) (*jetstream.RawStreamMsg, error)) (*Stored, error) {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "cannot read stream "+stream, "")
	}
	m, err := get(s)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("%s in %s: %w", subject, stream, ErrNotFound)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "cannot read "+subject+" in stream "+stream, "")
	}
	return &Stored{Subject: m.Subject, Seq: m.Sequence, Time: m.Time, Header: header(m.Header), Data: m.Data}, nil
}
