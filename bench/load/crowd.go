package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/pkg/subject"
)

// unacknowledged is how many requests of a crowd are under way at once.
const unacknowledged = 1000

// crowd asks for a great many runs that stay suspended, and counts their ends, each once.
type crowd struct {
	nc      *nats.Conn
	runs    *Runs
	inbox   string
	slots   chan struct{} // one for each request that is not acknowledged
	failure chan error    // the first refusal

	mu    sync.Mutex
	asked int
	ended []bool
	count int
	first time.Time // of the ends
	last  time.Time
	err   error
}

// CrowdCount is how a crowd stands.
type CrowdCount struct {
	Asked, Ended int
	Spread       time.Duration // from the first end to the last
	Failure      string        // the first run that did not end as it should
}

// Gather connects for a crowd.
func (g *Generator) Gather(runs Runs, _ *struct{}) error {
	nc, err := nats.Connect(runs.NATS, nats.MaxReconnects(-1), nats.ReconnectWait(pollTime))
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	c := &crowd{
		nc: nc, runs: &runs, inbox: nc.NewRespInbox(),
		slots: make(chan struct{}, unacknowledged), failure: make(chan error, 1),
	}
	acks, err := nc.Subscribe(c.inbox+".ack", c.acknowledged)
	ends, err2 := nc.Subscribe(c.inbox+".end", c.end)
	if err = errors.Join(err, err2); err == nil {
		err = errors.Join(acks.SetPendingLimits(-1, -1), ends.SetPendingLimits(-1, -1), nc.Flush())
	}
	if err != nil {
		nc.Close()
		return fmt.Errorf("subscribe to the ends of runs: %w", err)
	}
	g.crowd = c
	return nil
}

// Ask asks for more runs, whose callbacks the outside service holds. It returns when all requests are acknowledged.
func (g *Generator) Ask(more int, _ *struct{}) error {
	c := g.crowd
	if c == nil {
		return errors.New("no crowd was gathered")
	}
	input := runInput(true)
	request := subject.RunRequest(c.runs.Workflow)
	c.mu.Lock()
	from := c.asked
	c.asked += more
	c.ended = append(c.ended, make([]bool, more)...)
	c.mu.Unlock()
	for n := from; n < from+more; n++ {
		if err := g.acquire(c); err != nil {
			return err
		}
		id := runID(c.runs.Prefix, int64(n))
		m := &nats.Msg{
			Subject: request, Reply: c.inbox + ".ack", Data: input,
			Header: nats.Header{
				nats.MsgIdHdr:         {id},
				subject.HeaderRunID:   {id},
				subject.HeaderReplyTo: {c.inbox + ".end"},
			},
		}
		if err := c.nc.PublishMsg(m); err != nil {
			return fmt.Errorf("ask for a run: %w", err)
		}
	}
	for range cap(c.slots) { // all of them: nothing is unacknowledged
		if err := g.acquire(c); err != nil {
			return err
		}
	}
	for range cap(c.slots) {
		<-c.slots
	}
	return nil
}

func (g *Generator) acquire(c *crowd) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	case err := <-c.failure:
		return err
	case <-time.After(runTime):
		return errors.New("JetStream did not acknowledge run requests in time")
	case <-g.ctx.Done():
		return g.ctx.Err()
	}
}

// CrowdCount tells how the crowd stands.
func (g *Generator) CrowdCount(_ struct{}, count *CrowdCount) error {
	c := g.crowd
	if c == nil {
		return errors.New("no crowd was gathered")
	}
	if !c.nc.IsConnected() {
		return errors.New("the crowd has no connection to NATS")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	*count = CrowdCount{Asked: c.asked, Ended: c.count, Spread: c.last.Sub(c.first)}
	if c.err != nil {
		count.Failure = c.err.Error()
	}
	return nil
}

// Connected waits until the crowd is connected again and its subscriptions stand.
func (g *Generator) Connected(_ struct{}, _ *struct{}) error {
	c := g.crowd
	if c == nil {
		return errors.New("no crowd was gathered")
	}
	for deadline := time.Now().Add(runTime); time.Now().Before(deadline); {
		if c.nc.IsConnected() && c.nc.FlushTimeout(time.Second) == nil {
			return nil
		}
		if !sleepUntil(g.ctx, time.Now().Add(pollTime)) {
			return context.Cause(g.ctx)
		}
	}
	return errors.New("the crowd could not connect to NATS again")
}

func (c *crowd) acknowledged(m *nats.Msg) {
	<-c.slots
	if refused(m) {
		select {
		case c.failure <- fmt.Errorf("a run request was refused: %s%s", m.Header.Get("Status"), m.Data):
		default:
		}
	}
}

// end counts the end of a run.
func (c *crowd) end(m *nats.Msg) {
	run, err := readEndedRun(m.Data)
	n, ours := runNumber(c.runs.Prefix, run.ID)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.err == nil {
		c.err = err
	}
	if err != nil || !ours || n >= int64(len(c.ended)) || c.ended[n] {
		return
	}
	now := time.Now()
	if c.count == 0 {
		c.first = now
	}
	c.ended[n], c.last = true, now
	c.count++
}
