package bus

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

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
	if err := c.b.nc.PublishRequest(c.b.apiPrefix+"CONSUMER.MSG.NEXT."+c.o.Stream+"."+c.o.Consumer, reply, body); err != nil {
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
	if c.o.Arrived != nil {
		c.o.Arrived(d)
	}
	c.workers.Go(func() { c.handle(d) })
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
