package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/workers"
)

// ConsumeOptions name a durable consumer and bound what is held of it.
type ConsumeOptions struct {
	Stream      string
	Consumer    string
	MaxInFlight int // messages held unacknowledged by this call; default 256
	// Arrived is called for each message before it is processed, one after the other in the order of arrival. It must not wait.
	Arrived func(d *Delivery)
}

// restingWorkers is how many goroutines are kept for the messages to come.
const restingWorkers = 64

// Delivery is a message to be processed. One of Ack, Nak or Term ends it; a handler that returns
// without any of them has its message handed back at once.
type Delivery struct {
	Stored
	Deliveries int // 1 for the first

	reply string
	nc    *nats.Conn
	ended atomic.Bool
}

// Ack says that it is done. Should the word not get through, the message comes again.
func (d *Delivery) Ack() error { return d.end("+ACK") }

// Nak hands it back, to be delivered again after delay.
func (d *Delivery) Nak(delay time.Duration) error {
	if delay <= 0 {
		return d.end("-NAK")
	}
	return d.end(`-NAK {"delay":` + strconv.FormatInt(int64(delay), 10) + "}")
}

// Term gives it up: it is not delivered again.
func (d *Delivery) Term(reason string) error { return d.end("+TERM " + reason) }

func (d *Delivery) end(word string) error {
	if d.ended.Swap(true) {
		return nil
	}
	if err := d.nc.Publish(d.reply, []byte(word)); err != nil {
		return fault.Wrap(err, fault.Unavailable, "cannot acknowledge "+d.Subject, "it is delivered again")
	}
	return nil
}

// Consume calls f in a goroutine for each message of a durable consumer, at most MaxInFlight at once, and
// keeps each alive at the server while its f runs. It asks the server for as many messages as it has free places and
// never for more, so what cannot be processed here stays in JetStream, for others to take.
//
// It goes on through reconnects, server restarts and changes of leader, and makes a consumer that was deleted anew.
// A stream that does not exist ends it with an error. When ctx ends it takes no more messages, hands back those that
// arrive all the same, waits for the f's that run (their ctx goes on, so that they can finish) and returns nil.
func (b *Bus) Consume(ctx context.Context, o ConsumeOptions, f func(ctx context.Context, d *Delivery)) error {
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = 256
	}
	c := &consumption{
		b: b, o: o, f: f, handlerCtx: context.WithoutCancel(ctx),
		workers: workers.New(min(o.MaxInFlight, restingWorkers)), held: make(map[*Delivery]struct{}), wake: make(chan struct{}, 1),
		log: b.log.With(slog.String("stream", o.Stream), slog.String("consumer", o.Consumer)),
	}
	return c.run(ctx)
}

// consumption is one call of Consume. One pull at a time is with the server: while it is being filled, places that become
// free gather for the next one, so the batches grow with the load and each message is accounted for.
type consumption struct {
	b          *Bus
	o          ConsumeOptions
	f          func(ctx context.Context, d *Delivery)
	handlerCtx context.Context //nolint:containedctx // of the handlers, which outlive the call's own
	log        *slog.Logger

	running sync.WaitGroup
	workers *workers.Pool
	wake    chan struct{} // a place has become free, or the pull has ended

	mu       sync.Mutex
	prefix   string // of the subjects that pulls are answered on; a new one voids what came before
	sub      *nats.Subscription
	pull     uint64 // number of the pull
	left     int    // messages that it may still bring; zero: there is none
	seen     time.Time
	failures int // pulls in a row that the server did not serve
	missing  bool
	leaving  bool
	held     map[*Delivery]struct{}
}

func (c *consumption) run(ctx context.Context) error {
	ackWait, err := c.attach(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	stop := make(chan struct{})
	var keeper sync.WaitGroup
	keeper.Go(func() { c.keepAlive(stop, ackWait/3) })
	defer func() {
		c.leave()
		c.running.Wait()
		c.workers.Close()
		close(stop)
		keeper.Wait()
		if c.b.nc.IsConnected() {
			_ = c.b.nc.FlushTimeout(closeTimeout) // an acknowledgement that is lost is a redelivery
		}
	}()
	tick := time.NewTicker(pullBeat)
	defer tick.Stop()
	for {
		reconnected := c.b.onReconnect()
		if err := c.subscribe(); err != nil {
			return fault.Wrap(err, fault.Unavailable, "cannot subscribe to the messages of "+c.o.Stream, "")
		}
		if again, err := c.serve(ctx, reconnected, tick.C); !again || err != nil {
			return err
		}
	}
}

// serve pulls until ctx ends, or until the pull is void: lost, or made on an earlier connection.
func (c *consumption) serve(ctx context.Context, reconnected <-chan struct{}, tick <-chan time.Time) (again bool, err error) {
	for {
		var retry <-chan time.Time
		if wait := c.refill(); wait > 0 {
			retry = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-reconnected:
			return true, nil
		case <-retry:
		case <-c.wake:
		case now := <-tick:
			if c.lost(now) {
				c.log.Warn("the server forgot our request for messages; asking again")
				return true, nil
			}
		}
		if !c.takeMissing() {
			continue
		}
		if _, err := c.attach(ctx); err != nil {
			if ctx.Err() != nil {
				return false, nil //nolint:nilerr // whatever failed, we were told to end
			}
			return false, err
		}
	}
}

// attach makes sure that the consumer exists and gives its time to acknowledge. It tries until ctx ends,
// but for a stream that does not exist.
func (c *consumption) attach(ctx context.Context) (ackWait time.Duration, err error) {
	for failures := 0; ; {
		ackWait, err = c.lookup(ctx)
		if err == nil {
			return max(ackWait, time.Second), nil
		}
		if isAPI(err, codeNoStream) || errors.Is(err, jetstream.ErrStreamNotFound) {
			return 0, c.b.readError(err, c.o.Stream, "")
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		failures++
		c.log.Warn("cannot reach the consumer; trying again", slog.Any("error", err))
		select {
		case <-time.After(retryWait(failures)):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (c *consumption) lookup(ctx context.Context) (time.Duration, error) {
	var info struct {
		Config struct {
			AckWait time.Duration `json:"ack_wait"`
		} `json:"config"`
	}
	err := c.b.api(ctx, "CONSUMER.INFO."+c.o.Stream+"."+c.o.Consumer, nil, &info, time.Now().Add(c.b.o.PublishTimeout))
	if !isAPI(err, codeNoConsumer) || c.b.checkOnly.Load() {
		return info.Config.AckWait, err
	}
	var l Layout
	if known := c.b.layout.Load(); known != nil {
		l = *known
	}
	cfg, ok := l.withDefaults().consumers()[c.o.Stream]
	if !ok || cfg.Durable != c.o.Consumer {
		return 0, err
	}
	c.log.Warn("there is no such consumer; making it")
	ctx, cancel := context.WithTimeout(ctx, c.b.o.PublishTimeout)
	defer cancel()
	if _, err := c.b.js.CreateOrUpdateConsumer(ctx, c.o.Stream, cfg); err != nil {
		return 0, fmt.Errorf("make the consumer: %w", err)
	}
	return cfg.AckWait, nil
}

func (c *consumption) delivery(m *nats.Msg) (*Delivery, error) {
	md, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	return &Delivery{
		Stored:     Stored{Subject: m.Subject, Seq: md.Sequence.Stream, Time: md.Timestamp, Header: header(m.Header), Data: m.Data},
		Deliveries: int(min(md.NumDelivered, math.MaxInt32)),
		reply:      m.Reply, nc: c.b.nc,
	}, nil
}

func (c *consumption) handle(d *Delivery) {
	defer c.running.Done()
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("a handler panicked; its message comes again", slog.Any("panic", r),
				slog.String("subject", d.Subject), slog.String("stack", string(debug.Stack())))
			_ = d.Nak(time.Second)
		}
		_ = d.Nak(0) // does nothing after another word
		c.mu.Lock()
		delete(c.held, d)
		free := c.left == 0
		c.mu.Unlock()
		if free {
			c.signal()
		}
	}()
	c.f(c.handlerCtx, d)
}

// keepAlive tells the server that what is held is being worked on.
func (c *consumption) keepAlive(stop <-chan struct{}, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	var replies []string
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		replies = replies[:0]
		c.mu.Lock()
		for d := range c.held {
			if !d.ended.Load() {
				replies = append(replies, d.reply)
			}
		}
		c.mu.Unlock()
		for _, r := range replies {
			if err := c.b.nc.Publish(r, []byte("+WPI")); err != nil {
				c.log.Debug("cannot keep messages alive", slog.Any("error", err)) // disconnected
				break
			}
		}
	}
}
