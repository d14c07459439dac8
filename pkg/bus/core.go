package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Notify publishes without storing: whoever listens now gets it, and nobody knows whether anyone did.
func (b *Bus) Notify(subj string, h Header, data []byte) error {
	o := takeOutgoing(subj, data)
	defer o.giveBack()
	for k, v := range h {
		o.set(k, v)
	}
	return b.notify(o)
}

// JSON is what writes itself as JSON, behind what is in dst.
type JSON interface {
	AppendJSON(dst []byte) ([]byte, error)
}

// NotifyJSON is Notify for a payload that writes itself. One that is larger than Inline is not sent, and a fault.TooLarge.
func (b *Bus) NotifyJSON(subj string, v JSON) error {
	o := takeOutgoing(subj, nil)
	defer o.giveBack()
	data, err := v.AppendJSON(o.scratch[:0])
	if err != nil {
		return fmt.Errorf("write what is to be told on %s: %w", subj, err)
	}
	if cap(data) <= keptScratch {
		o.scratch = data
	}
	if len(data) > b.Inline() {
		return fault.New(fault.TooLarge, "what is to be told on "+subj+" is too large for a message", "")
	}
	o.msg.Data = data
	return b.notify(o)
}

func (b *Bus) notify(o *outgoing) error {
	if len(o.msg.Subject) > maxSubject {
		return ErrSubject
	}
	if err := b.nc.PublishMsg(&o.msg); err != nil {
		return b.publishError(err, o.msg.Subject)
	}
	return nil
}

// Headers by which a service says that it has failed. Source: NATS's ADR-32, service API.
const (
	serviceErrorCode = "Nats-Service-Error-Code"
	serviceError     = "Nats-Service-Error"
)

// Request asks whoever subscribes to subj and gives the answer. It waits for as long as ctx says, or else PublishTimeout. Nobody there
// is a fault.Unavailable, and so is an error that a service of NATS's own framework answers with.
func (b *Bus) Request(ctx context.Context, subj string, h Header, data []byte) ([]byte, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.o.PublishTimeout)
		defer cancel()
	}
	if len(subj) > maxSubject {
		return nil, ErrSubject
	}
	o := takeOutgoing(subj, data)
	defer o.giveBack()
	for k, v := range h {
		o.set(k, v)
	}
	m, err := b.nc.RequestMsgWithContext(ctx, &o.msg)
	switch {
	case err == nil && m.Header.Get(serviceErrorCode) != "":
		return nil, fault.New(fault.Unavailable, fmt.Sprintf("the service on %s answers %s: %s", subj, m.Header.Get(serviceErrorCode), m.Header.Get(serviceError)), "")
	case err == nil:
		return m.Data, nil
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fault.Wrap(err, fault.Unavailable, "nobody answers on "+subj, "start the service that does")
	case errors.Is(err, context.Canceled):
		return nil, fmt.Errorf("request on %s: %w", subj, err)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fault.Wrap(err, fault.Unavailable, "no answer on "+subj+" in time", "")
	default:
		return nil, b.publishError(err, subj)
	}
}

// Subscribe calls f for each message, one at a time and in order, until ctx ends or stop is called.
// With a queue, each message goes to one of the queue's subscribers. When Subscribe returns, the server
// knows of it. stop unsubscribes and waits for an f that runs, so f must not call it; it is to be called in any
// case, also after ctx has ended.
func (b *Bus) Subscribe(ctx context.Context, subj, queue string, f func(ctx context.Context, n *Note)) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.Mutex
	take := func(m *nats.Msg) {
		running.Lock()
		defer running.Unlock()
		if ctx.Err() == nil {
			f(ctx, &Note{Subject: m.Subject, Header: header(m.Header), Data: m.Data, Reply: m.Reply, respond: m.Respond})
		}
	}
	var sub *nats.Subscription
	if queue == "" {
		sub, err = b.nc.Subscribe(subj, take)
	} else {
		sub, err = b.nc.QueueSubscribe(subj, queue, take)
	}
	if err == nil {
		err = b.flush(ctx)
	}
	if err != nil {
		cancel()
		if sub != nil {
			_ = sub.Unsubscribe() // of a connection that does not answer
		}
		return nil, fault.Wrap(err, fault.Unavailable, "cannot subscribe to "+subj, "check that NATS runs")
	}
	context.AfterFunc(ctx, func() { _ = sub.Unsubscribe() })
	return func() {
		cancel()
		running.Lock()
		defer running.Unlock()
	}, nil
}

// flush returns when the server has seen all that was sent before.
func (b *Bus) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.o.PublishTimeout)
	defer cancel()
	return b.nc.FlushWithContext(ctx)
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
