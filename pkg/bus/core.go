package bus

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Notify publishes without storing: whoever listens now gets it.
func (b *Bus) Notify(subject string, h Header, data []byte) error {
	return b.nc.PublishMsg(coreMsg(subject, h, data))
}

// Request asks whoever subscribes to subject and returns the answer. Nobody there is a fault.Unavailable.
func (b *Bus) Request(ctx context.Context, subject string, h Header, data []byte) ([]byte, error) {
	m, err := b.nc.RequestMsgWithContext(ctx, coreMsg(subject, h, data))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "no answer on "+subject, "")
	}
	return m.Data, nil
}

// Subscribe calls f for each message, one at a time and in order, until ctx ends or stop is called.
// With a queue, each message goes to one of the queue's subscribers. When Subscribe returns, the server
// knows of it. stop unsubscribes and waits for a running f; it is to be called, also after ctx has ended.
func (b *Bus) Subscribe(ctx context.Context, subject, queue string, f func(ctx context.Context, n *Note)) (stop func(), err error) {
	var running sync.Mutex
	sub, err := b.nc.QueueSubscribe(subject, queue, func(m *nats.Msg) {
		running.Lock()
		defer running.Unlock()
		if ctx.Err() == nil {
			f(ctx, &Note{Subject: m.Subject, Header: header(m.Header), Data: m.Data, Reply: m.Reply, respond: m.Respond})
		}
	})
	if err == nil {
		err = b.nc.FlushWithContext(ctx)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "cannot subscribe to "+subject, "")
	}
	cancel := context.AfterFunc(ctx, func() { _ = sub.Unsubscribe() })
	return func() {
		cancel()
		_ = sub.Unsubscribe()
		running.Lock()
		defer running.Unlock()
	}, nil
}

func coreMsg(subject string, h Header, data []byte) *nats.Msg {
	m := &nats.Msg{Subject: subject, Data: data}
	if len(h) > 0 {
		m.Header = make(nats.Header, len(h))
		for k, v := range h {
			m.Header[k] = []string{v}
		}
	}
	return m
}

func header(h nats.Header) Header {
	if len(h) == 0 {
		return nil
	}
	out := make(Header, len(h))
	for k, v := range h {
		if len(v) > 0 {
			out[k] = v[0]
		}
	}
	return out
}
