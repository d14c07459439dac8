package bus

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Publish returns when JetStream holds m. Errors:
//
//   - ErrConflict: m.Expect was not met; nothing was stored.
//   - fault.TooLarge, fault.Invalid: the server never took it; nothing was stored.
//   - fault.Unavailable or ctx's error: not acknowledged in time. It may have been stored all the same.
//
// A write in flight on the expected subject (possible when replicated) is waited for within ctx and PublishTimeout.
func (b *Bus) Publish(ctx context.Context, m *Message) (Ack, error) {
	ctx, cancel := context.WithTimeout(ctx, b.o.PublishTimeout)
	defer cancel()
	for {
		a, err := b.js.PublishMsg(ctx, m.msg(), jetstream.WithRetryAttempts(0))
		if err == nil {
			return Ack{Seq: a.Sequence, Duplicate: a.Duplicate}, nil
		}
		if api, ok := errors.AsType[*jetstream.APIError](err); ok {
			switch api.ErrorCode {
			case 10071:
				return Ack{}, ErrConflict
			case 10164:
				time.Sleep(time.Millisecond)
				continue
			}
		}
		return Ack{}, fault.Wrap(err, fault.Unavailable, "JetStream did not acknowledge "+m.Subject, "")
	}
}

func (m *Message) msg() *nats.Msg {
	h := nats.Header{}
	for k, v := range m.Header {
		h[k] = []string{v}
	}
	set := func(k, v string) { h[k] = []string{v} }
	if m.MsgID != "" {
		set("Nats-Msg-Id", m.MsgID)
	}
	if m.TTL > 0 {
		set("Nats-TTL", strconv.FormatInt(int64((m.TTL+time.Second-1)/time.Second), 10)+"s")
	}
	if e := m.Expect; e != nil {
		set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(e.Seq, 10))
		if e.Subject != "" {
			set("Nats-Expected-Last-Subject-Sequence-Subject", e.Subject)
		}
	}
	if m.Rollup {
		set("Nats-Rollup", "sub")
	}
	if !m.ScheduleAt.IsZero() {
		set("Nats-Schedule", "@at "+m.ScheduleAt.UTC().Format(time.RFC3339Nano))
		set("Nats-Schedule-Target", m.ScheduleTarget)
	}
	return &nats.Msg{Subject: m.Subject, Header: h, Data: m.Data}
}
