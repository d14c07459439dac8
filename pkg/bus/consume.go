package bus

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// ConsumeOptions name a durable consumer and bound what is held of it.
type ConsumeOptions struct {
	Stream      string
	Consumer    string
	MaxInFlight int // messages held unacknowledged by this call; default 256
}

// Delivery is a message to be processed. One of Ack, Nak or Term ends it; a handler that returns
// without any of them has its message handed back at once.
type Delivery struct {
	Stored
	Deliveries int // 1 for the first

	m jetstream.Msg
}

// Ack says that it is done.
func (d *Delivery) Ack() error { return d.m.Ack() }

// Nak hands it back, to be delivered again after delay.
func (d *Delivery) Nak(delay time.Duration) error { return d.m.NakWithDelay(delay) }

// Term gives it up: it is not delivered again.
func (d *Delivery) Term(reason string) error { return d.m.TermWithReason(reason) }

// Consume calls f in a goroutine of its own for each message, at most MaxInFlight at once, and keeps the
// message alive at the server while f runs. When ctx ends it takes no more, waits for the running f's (whose
// ctx goes on: they finish what they hold), and returns nil.
func (b *Bus) Consume(ctx context.Context, o ConsumeOptions, f func(ctx context.Context, d *Delivery)) error {
	c, err := b.js.Consumer(ctx, o.Stream, o.Consumer)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "cannot consume "+o.Stream, "")
	}
	n := o.MaxInFlight
	if n == 0 {
		n = 256
	}
	slots := make(chan struct{}, n)
	var running sync.WaitGroup
	defer running.Wait()
	for ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		m, err := c.Next(jetstream.FetchMaxWait(time.Second))
		if err != nil {
			<-slots
			continue
		}
		md, err := m.Metadata()
		if err != nil {
			<-slots
			continue
		}
		d := &Delivery{
			Stored:     Stored{Subject: m.Subject(), Seq: md.Sequence.Stream, Time: md.Timestamp, Header: header(m.Headers()), Data: m.Data()},
			Deliveries: int(md.NumDelivered), m: m,
		}
		running.Go(func() {
			defer func() { <-slots }()
			f(context.WithoutCancel(ctx), d)
		})
	}
	return nil
}
