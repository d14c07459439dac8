package ceiling

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/bench/server"
)

const (
	// unacknowledged is how many publishes are under way at once: more of them bring nothing.
	unacknowledged = 1000
	ackTime        = 30 * time.Second
)

// Publish is JetStream's async publish alone: the payload that a listener would store, one subject a callback.
type Publish struct {
	ctx          context.Context //nolint:containedctx // the life of the process; net/rpc methods are given none
	embedded     *server.Embedded
	nc           *nats.Conn
	js           jetstream.JetStream
	begun        int64
	done, failed atomic.Int64
}

// NewPublish makes one that Start starts.
func NewPublish(ctx context.Context) *Publish { return &Publish{ctx: ctx} }

// PublishArgs name the server: one at URL, or, where URL is empty, one embedded in this process, with its data in Dir.
type PublishArgs struct{ URL, Dir string }

// Start connects and makes the stream.
func (p *Publish) Start(args PublishArgs, _ *struct{}) (err error) {
	var options []nats.Option
	if args.URL == "" {
		if p.embedded, err = server.Start(server.Args{Dir: args.Dir, Port: -1}); err != nil {
			return err
		}
		options = append(options, nats.InProcessServer(p.embedded))
	}
	if p.nc, err = nats.Connect(args.URL, options...); err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	p.js, err = jetstream.New(p.nc,
		jetstream.WithPublishAsyncMaxPending(unacknowledged),
		jetstream.WithPublishAsyncAckHandler(func(jetstream.JetStream, *nats.Msg, *jetstream.PubAck) { p.done.Add(1) }),
		jetstream.WithPublishAsyncErrHandler(func(jetstream.JetStream, *nats.Msg, error) { p.failed.Add(1) }),
	)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	_, err = p.js.CreateStream(p.ctx, jetstream.StreamConfig{Name: "CALLBACKS", Subjects: []string{"callback.>"}})
	if err != nil {
		return fmt.Errorf("create the stream: %w", err)
	}
	return nil
}

// RunArgs bound a run of publishes.
type RunArgs struct {
	Payload  string
	Duration time.Duration
}

// Published is what came of it.
type Published struct {
	Done    int64
	Elapsed time.Duration
}

// Run publishes for the time given and waits for the last acknowledgement.
func (p *Publish) Run(args RunArgs, published *Published) error {
	if p.js == nil {
		return errors.New("not started")
	}
	payload := []byte(args.Payload)
	before, begun := p.done.Load(), time.Now()
	for time.Since(begun) < args.Duration && p.ctx.Err() == nil {
		p.begun++
		subject := "callback.task-" + strconv.FormatInt(p.begun, 10)
		if _, err := p.js.PublishAsync(subject, payload, jetstream.WithStallWait(ackTime)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	select {
	case <-p.js.PublishAsyncComplete():
	case <-time.After(ackTime):
		return errors.New("JetStream did not acknowledge all in time")
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	published.Elapsed = time.Since(begun)
	if n := p.failed.Load(); n > 0 {
		return fmt.Errorf("%d publishes were not acknowledged", n)
	}
	published.Done = p.done.Load() - before
	return nil
}

// keep returns when what has happened to a run is stored.
func (p *Publish) keep(ctx context.Context, id, what string, payload []byte) error {
	stored, err := p.js.PublishAsync("callback."+id+"."+what, payload)
	if err != nil {
		return err
	}
	select {
	case <-stored.Ok():
		return nil
	case err := <-stored.Err():
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Publish) close() error { return p.Close() }

// Close disconnects and ends an embedded server.
func (p *Publish) Close() error {
	if p.nc != nil {
		p.nc.Close()
	}
	if p.embedded != nil {
		return p.embedded.Close()
	}
	return nil
}
