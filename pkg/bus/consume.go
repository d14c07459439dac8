package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
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

// Consume calls f in a goroutine of its own for each message of a durable consumer, at most MaxInFlight at once, and
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
		held: make(map[*Delivery]struct{}), wake: make(chan struct{}, 1),
		log: b.log.With(slog.String("stream", o.Stream), slog.String("consumer", o.Consumer)),
	}
	return c.run(ctx)
}

const (
	pullExpires  = 30 * time.Second
	pullBeat     = time.Second     // the server shows every so often that a pull still stands
	pullLost     = 4 * pullBeat    // a pull that shows nothing for so long is taken for lost
	maxRetryWait = time.Second     // between attempts at a consumer that cannot be reached
	closeTimeout = 5 * time.Second // for the last acknowledgements

	leaveQuiet = 50 * time.Millisecond  // without a message: none is on its way
	leaveLimit = time.Second            // to wait for that
	handedBack = 250 * time.Millisecond // until what we hand back is delivered again, not to us
)

// consumption is one call of Consume. One pull at a time is with the server: while it is being filled, places that become
// free gather for the next one, so the batches grow with the load and each message is accounted for.
type consumption struct {
	b          *Bus
	o          ConsumeOptions
	f          func(ctx context.Context, d *Delivery)
	handlerCtx context.Context //nolint:containedctx // of the handlers, which outlive the call's own
	log        *slog.Logger

	running sync.WaitGroup
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
	if !isAPI(err, codeNoConsumer) {
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

// subscribe begins anew on a subject of its own: what an earlier pull would bring finds nobody and stays in JetStream.
func (c *consumption) subscribe() error {
	prefix := c.b.nc.NewInbox() + "."
	sub, err := c.b.nc.Subscribe(prefix+"*", c.receive)
	if err != nil {
		return err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	c.mu.Lock()
	old := c.sub
	c.prefix, c.sub, c.left = prefix, sub, 0
	c.mu.Unlock()
	if old != nil {
		_ = old.Unsubscribe() // of a connection that may be gone
	}
	return nil
}

// refill asks for as many messages as there are free places, unless a pull is out. After pulls that
// failed it gives the time to wait instead.
func (c *consumption) refill() (wait time.Duration) {
	c.mu.Lock()
	free := c.o.MaxInFlight - len(c.held)
	if c.left > 0 || free <= 0 || c.leaving {
		c.mu.Unlock()
		return 0
	}
	now := time.Now()
	if wait := c.seen.Add(retryWait(c.failures)).Sub(now); c.failures > 0 && wait > 0 {
		c.mu.Unlock()
		return wait
	}
	c.pull++
	c.left, c.seen = free, now
	number, reply := c.pull, c.prefix+strconv.FormatUint(c.pull, 10)
	c.mu.Unlock()

	body := fmt.Appendf(nil, `{"batch":%d,"expires":%d,"idle_heartbeat":%d}`, free, pullExpires, pullBeat)
	if err := c.b.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+c.o.Stream+"."+c.o.Consumer, reply, body); err != nil {
		c.log.Debug("cannot ask for messages", slog.Any("error", err)) // disconnected: the reconnect wakes us
		c.mu.Lock()
		c.endPull(number, true)
		c.mu.Unlock()
		return maxRetryWait
	}
	return 0
}

func retryWait(failures int) time.Duration {
	return min(5*time.Millisecond<<min(failures, 10), maxRetryWait)
}

// endPull notes that a pull brings nothing any more. c.mu is held.
func (c *consumption) endPull(number uint64, failed bool) {
	if number != c.pull || c.left == 0 {
		return
	}
	c.left = 0
	if failed {
		c.failures++
		c.seen = time.Now()
	}
}

func (c *consumption) lost(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left > 0 && now.Sub(c.seen) > pullLost
}

func (c *consumption) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *consumption) takeMissing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.missing
	c.missing = false
	return m
}

// receive takes what a pull brings. It runs in the subscription's goroutine.
func (c *consumption) receive(m *nats.Msg) {
	if m.Reply == "" {
		c.receiveStatus(m)
		return
	}
	d, err := c.delivery(m)
	if err != nil {
		c.log.Warn("a message does not come from JetStream", slog.Any("error", err), slog.String("subject", m.Subject))
		return
	}
	c.mu.Lock()
	done := false
	if m.Sub == c.sub && c.left > 0 {
		c.left--
		c.failures = 0
		c.seen = time.Now()
		done = c.left == 0
	}
	// Late ones, of a pull taken for lost, may find every place taken.
	full := c.leaving || len(c.held) >= c.o.MaxInFlight
	if !full {
		c.held[d] = struct{}{}
		c.running.Add(1)
	}
	c.mu.Unlock()
	if done {
		c.signal()
	}
	if full {
		if err := d.Nak(handedBack); err != nil {
			c.log.Debug("cannot hand a message back", slog.Any("error", err))
		}
		return
	}
	go c.handle(d)
}

// receiveStatus takes the server's word about a pull.
func (c *consumption) receiveStatus(m *nats.Msg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	number, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, c.prefix), 10, 64)
	if err != nil || number != c.pull {
		return
	}
	about := m.Header.Get("Description")
	switch m.Header.Get(hdrStatus) {
	case "100": // it still stands
		if !c.leaving {
			c.seen = time.Now()
		}
		c.failures = 0
		return
	case "408", "404": // its time is over
		c.failures = 0
		c.endPull(number, false)
	case statusNoResponders: // no consumer, or one without a leader
		c.missing = true
		c.endPull(number, true)
	case "409":
		if about == "Consumer Deleted" {
			c.missing = true
		} else if about != "Leadership Change" && about != "Server Shutdown" {
			c.log.Warn("the server does not serve our request for messages", slog.String("reason", about))
		}
		c.endPull(number, true)
	default:
		c.log.Warn("the server does not serve our request for messages", slog.String("reason", about))
		c.endPull(number, true)
	}
	c.signal()
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

// leave takes no more messages. What the pull still brings is handed back, so it is given a moment to come to its end: a
// server that is just sending when we unsubscribe loses the message until its time to be acknowledged is over.
func (c *consumption) leave() {
	c.mu.Lock()
	c.leaving = true
	c.seen = time.Now()
	sub := c.sub
	c.mu.Unlock()
	if sub == nil {
		return
	}
	if !c.b.nc.IsConnected() {
		_ = sub.Unsubscribe() // of a connection that is gone
		return
	}
	tick := time.NewTicker(leaveQuiet / 10)
	defer tick.Stop()
	for until := time.Now().Add(leaveLimit); c.pulling() && time.Now().Before(until); {
		<-tick.C
	}
	drained := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(drained) })
	if err := sub.Drain(); err != nil {
		return
	}
	select {
	case <-drained:
	case <-time.After(closeTimeout):
	}
}

// pulling tells whether the pull may bring something any moment.
func (c *consumption) pulling() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left > 0 && time.Since(c.seen) < leaveQuiet
}
