// Package forwarder brings what a listener on the far side of a link has taken to the streams: each once, and those of one id in
// their order.
package forwarder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Deps are what a forwarder works with.
type Deps struct {
	Bus      *bus.Bus    // of the streams
	Edge     bus.Options // how to reach the listener's side
	Logger   *slog.Logger
	Registry prometheus.Registerer // nil: metrics are not published
}

// Forwarder forwards. Any number of them share the work. They keep nothing.
type Forwarder struct {
	bus     *bus.Bus
	options bus.Options
	edge    *bus.Bus
	log     *slog.Logger
	metrics *metrics
	ready   chan struct{}
}

// New gives a forwarder.
func New(d Deps) *Forwarder {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return &Forwarder{bus: d.Bus, options: d.Edge, log: d.Logger, metrics: newMetrics(d.Registry), ready: make(chan struct{})}
}

// Name is the service's name.
func (f *Forwarder) Name() string { return "forwarder" }

// Ready is closed when the listener's side was reached for the first time.
func (f *Forwarder) Ready() <-chan struct{} { return f.ready }

const (
	dialTimeout  = 30 * time.Second
	closeTimeout = 5 * time.Second
	pause        = time.Second // before the other side is looked for again
)

// Run forwards until ctx ends. The other side may be away: what it holds waits there.
func (f *Forwarder) Run(ctx context.Context) error {
	edge, err := f.connect(ctx)
	if edge == nil {
		return err
	}
	f.edge = edge
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = edge.Close(closing) // what it did not hear is delivered again
	}()
	close(f.ready)
	f.log.Info("forwarder is ready")
	for ctx.Err() == nil {
		err := edge.Consume(ctx, bus.ConsumeOptions{Stream: subject.StreamEdge, Consumer: subject.ConsumerForwarder, MaxInFlight: bus.EdgeInFlight}, f.deliver)
		if err == nil {
			break
		}
		f.log.Warn("the listener's side has no stream "+subject.StreamEdge+"; looking again", slog.Any("error", err)) //nolint:sloglint // a name of ours
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// connect connects to the other side, however long that takes. Nothing and no error: we were told to end.
func (f *Forwarder) connect(ctx context.Context) (*bus.Bus, error) {
	for {
		dialing, cancel := context.WithTimeout(ctx, dialTimeout)
		edge, err := bus.Connect(dialing, f.options)
		cancel()
		switch {
		case err == nil:
			return edge, nil
		case ctx.Err() != nil:
			return nil, nil //nolint:nilnil,nilerr // whatever failed, we were told to end
		case fault.CodeOf(err) != fault.Unavailable:
			return nil, fmt.Errorf("connect to the listener's side: %w", err)
		}
		f.log.Warn("the listener's side is not reached; trying again", slog.Any("error", err))
	}
}

// deliver forwards one message and acknowledges it last.
func (f *Forwarder) deliver(ctx context.Context, d *bus.Delivery) {
	fate, spent, err := f.forward(ctx, d)
	if err != nil && lasting(err, d.Deliveries) {
		fate, err = fateDead, f.bury(ctx, d, err)
	}
	switch {
	case errors.Is(err, errNotFirst):
		fate = fateBehind
		err = d.Nak(behindPause)
	case err == nil:
		if err = d.Ack(); err == nil {
			f.clear(ctx, spent) // after that word: a message that comes again without its payload cannot go over
		}
	default:
		fate = fateRetried
		f.log.Warn("not forwarded; trying again", slog.String("subject", d.Subject), slog.Uint64("seq", d.Seq), slog.Any("error", err))
		err = d.Nak(backoff(d.Deliveries))
	}
	if err != nil {
		f.log.Info("could not acknowledge: it comes again", slog.String("subject", d.Subject), slog.Any("error", err))
	}
	f.metrics.count(kind(d.Subject), fate, d.Time)
}

const behindPause = 50 * time.Millisecond

func backoff(deliveries int) time.Duration {
	return min(10*time.Second, 100*time.Millisecond<<min(deliveries, 8))
}

// errNotFirst is about a callback whose id has an earlier one that is still on its way.
var errNotFirst = errors.New("an earlier one for this id comes first")

// forward publishes a message anew. Only what is known of callbacks and requests goes over: headers that mean something to JetStream
// are set here, and a server that faces the internet is not believed about them. It gives the payload that is not needed any more.
func (f *Forwarder) forward(ctx context.Context, d *bus.Delivery) (fate string, spent *event.Object, err error) {
	if kind(d.Subject) == kindRequest {
		return f.request(ctx, d)
	}
	cb, err := bus.DecodeCallback(&d.Stored)
	if err != nil {
		return "", nil, fault.Wrap(err, fault.Invalid, "not a callback", "")
	}
	first, err := f.edge.Next(ctx, subject.StreamEdge, d.Subject, 1)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return fateDuplicate, nil, nil // acknowledged already: the word had not come through when it was delivered again
	case err != nil:
		return "", nil, fmt.Errorf("look for earlier callbacks: %w", err)
	case first.Seq < d.Seq:
		return "", nil, errNotFirst
	}
	if cb.DeliveryID == "" {
		cb.DeliveryID = own(&d.Stored)
	}
	large := cb.Object
	if d.Deliveries > 1 {
		// An earlier attempt may have got through, longer ago than JetStream remembers.
		there, err := f.arrived(ctx, cb)
		if err != nil {
			return "", nil, err
		}
		if there {
			return fateDuplicate, large, nil
		}
	}
	if err := f.edge.LoadResult(ctx, cb); err != nil {
		return "", nil, fmt.Errorf("read the callback's payload: %w", err)
	}
	ack, err := f.bus.PublishCallback(ctx, cb)
	return fateOf(ack), large, err
}

func (f *Forwarder) request(ctx context.Context, d *bus.Delivery) (fate string, spent *event.Object, err error) {
	in, err := bus.DecodeRunRequest(&d.Stored)
	if err != nil {
		return "", nil, fault.Wrap(err, fault.Invalid, "not a run request", "")
	}
	// What a listener sets, and no more: neither where to reply, nor by which definition to run, nor that a run is to go on.
	out := &event.RunRequest{RunID: in.RunID, Workflow: in.Workflow, Input: in.Input, MsgID: in.MsgID, Trace: in.Trace}
	if out.MsgID == "" {
		out.MsgID = own(&d.Stored)
	}
	if in.Object != nil {
		if out.Input, err = f.edge.Payload(ctx, in.Object); err != nil {
			return "", nil, fmt.Errorf("read the request's input: %w", err)
		}
	}
	ack, err := f.bus.PublishRunRequest(ctx, out)
	return fateOf(ack), in.Object, err
}

// clear removes a payload that has been copied. Where that fails its age removes it.
func (f *Forwarder) clear(ctx context.Context, o *event.Object) {
	if o != nil {
		_ = f.edge.Objects(o.Bucket).Delete(ctx, o.Name)
	}
}

// own is the id of a message that has none: the same at each delivery, and no other message's.
func own(s *bus.Stored) string { return fmt.Sprintf("edge.%d.%d", s.Seq, s.Time.UnixNano()) }

// window is how many callbacks are looked through at a time.
const window = 100

// arrived tells whether a callback is there already: the last one for its id as a rule, since they go in order, unless others
// publish on that id as well.
func (f *Forwarder) arrived(ctx context.Context, cb *event.Callback) (bool, error) {
	subj := subject.Callback(cb.ID)
	last, err := f.bus.Last(ctx, subject.StreamWaits, subj)
	if errors.Is(err, bus.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether it has arrived: %w", err)
	}
	for from, m := uint64(1), last; ; {
		if seen, err := bus.DecodeCallback(m); err == nil && seen.DeliveryID == cb.DeliveryID {
			return true, nil
		}
		if from > last.Seq {
			return false, nil
		}
		many, err := f.bus.NextMany(ctx, subject.StreamWaits, subj, from, window)
		if errors.Is(err, bus.ErrNotFound) || err == nil && len(many) == 0 {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("look whether it has arrived: %w", err)
		}
		for _, m := range many {
			if seen, err := bus.DecodeCallback(m); err == nil && seen.DeliveryID == cb.DeliveryID {
				return true, nil
			}
		}
		m = many[len(many)-1]
		from = m.Seq + 1
	}
}

func kind(subj string) string {
	if strings.HasPrefix(subj, "run.") {
		return kindRequest
	}
	return kindCallback
}
