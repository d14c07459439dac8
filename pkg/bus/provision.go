package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// State is what there is of an item of the layout; empty where no server was asked.
type State string

// The states.
const (
	Missing State = "missing"
	There   State = "there"
	Differs State = "differs" // it is there, with other settings
)

// Item is one stream or consumer of a layout. A bucket is a stream to the server.
type Item struct {
	Stream      string
	Consumer    string // empty: the stream itself
	State       State
	Differences []string        // "replicas: want 3, have 1"
	Config      json.RawMessage // as JetStream's API takes it, and `nats … add --config`
}

// Items lists all streams and consumers of the layout, in the order in which they are made, and asks no server.
func (l Layout) Items() []Item {
	l = l.withDefaults()
	var all []Item
	for _, s := range l.streams() {
		all = append(all, Item{Stream: s.Name, Config: config(s)})
		if c, ok := l.consumers()[s.Name]; ok {
			all = append(all, Item{Stream: s.Name, Consumer: c.Durable, Config: config(c)})
		}
	}
	return all
}

func config(v any) json.RawMessage {
	var data bytes.Buffer
	e := json.NewEncoder(&data)
	e.SetEscapeHTML(false) // people read it, and > is in every subject
	_ = e.Encode(v)        //nolint:errchkjson // plain structs: nothing in them can fail
	return bytes.TrimSpace(data.Bytes())
}

// Survey compares a layout with what there is. With names it looks at those streams alone. It changes nothing.
func (b *Bus) Survey(ctx context.Context, l Layout, names ...string) ([]Item, error) {
	l = l.withDefaults()
	ctx, stop := b.untilForbidden(ctx)
	defer stop()
	var all []Item
	for _, want := range l.streams() {
		if len(names) > 0 && !slices.Contains(names, want.Name) {
			continue
		}
		it := Item{Stream: want.Name, Config: config(want), State: Missing}
		s, err := b.js.Stream(ctx, want.Name)
		switch {
		case err == nil:
			it.compared(streamDiffs(want, s.CachedInfo().Config))
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			return nil, b.provisionError(ctx, err, "cannot look at the stream "+want.Name)
		}
		all = append(all, it)
		wanted, ok := l.consumers()[want.Name]
		if !ok {
			continue
		}
		it = Item{Stream: want.Name, Consumer: wanted.Durable, Config: config(wanted), State: Missing}
		c, err := b.js.Consumer(ctx, want.Name, wanted.Durable)
		switch {
		case err == nil:
			it.compared(consumerDiffs(wanted, c.CachedInfo().Config))
		case !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound):
			return nil, b.provisionError(ctx, err, "cannot look at the consumer "+wanted.Durable+" of "+want.Name)
		}
		all = append(all, it)
	}
	return all, nil
}

func (it *Item) compared(d []string) {
	it.State, it.Differences = There, d
	if len(d) > 0 {
		it.State = Differs
	}
}

// what names the item.
func (it *Item) what() string {
	if it.Consumer != "" {
		return "consumer " + it.Consumer + " of " + it.Stream
	}
	return "stream " + it.Stream
}

// Provision creates what is missing. What exists stays as it is: where it differs from l, that is logged, for an
// operator to decide. Several services may provision at once.
func (b *Bus) Provision(ctx context.Context, l Layout) error {
	l = l.withDefaults()
	b.layout.Store(&l)
	items, err := b.Survey(ctx, l)
	if err != nil {
		return err
	}
	ctx, stop := b.untilForbidden(ctx)
	defer stop()
	streams, consumers := l.streams(), l.consumers()
	for _, it := range items {
		switch {
		case it.State != Missing:
			b.reportDifferences(&it)
			continue
		case it.Consumer != "":
			// Where another service was quicker, this changes nothing.
			_, err = b.js.CreateOrUpdateConsumer(ctx, it.Stream, consumers[it.Stream])
		default:
			want := streams[slices.IndexFunc(streams, func(s jetstream.StreamConfig) bool { return s.Name == it.Stream })]
			_, err = b.js.CreateStream(ctx, want)
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another service was quicker
				_, err = b.js.Stream(ctx, it.Stream)
			}
		}
		if err != nil {
			return b.provisionError(ctx, err, "cannot make the "+it.what())
		}
		b.log.Info("made what was missing", slog.String("item", it.what()), slog.Int("replicas", l.Replicas))
	}
	b.streams.forget()
	return nil
}

func (b *Bus) reportDifferences(it *Item) {
	if it.State == Differs {
		b.log.Warn("not laid out as configured, and left as it is", slog.String("item", it.what()), slog.Any("differences", it.Differences))
	}
}

// Check is for a user who may not make streams: it waits until those that are named are there with their consumers, and until
// JetStream would take what is published on Options.Probe; ctx bounds it. Settings that differ are logged.
func (b *Bus) Check(ctx context.Context, l Layout, streams ...string) error {
	b.checkOnly.Store(true)
	for failures := 0; ; failures++ {
		err := b.check(ctx, l, streams)
		if err == nil || fault.CodeOf(err) == fault.Forbidden || ctx.Err() != nil {
			return err
		}
		if failures == 0 {
			b.log.Warn("waiting for the streams", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(maxRetryWait):
		}
	}
}

func (b *Bus) check(ctx context.Context, l Layout, streams []string) error {
	if len(streams) > 0 {
		items, err := b.Survey(ctx, l, streams...)
		if err != nil {
			return err
		}
		for _, it := range items {
			if it.State == Missing {
				return fault.New(fault.Unavailable, "there is no "+it.what(), "run `switchback provision` as a user who may make it")
			}
			b.reportDifferences(&it)
		}
	}
	return b.Ready(ctx)
}

// errForbidden is what ends a request of JetStream's API that the server does not let this user make.
var errForbidden = errors.New("NATS forbids it")

// refuse notes what the server does not allow this user. It answers such a publish to nobody.
func (b *Bus) refuse(text string) {
	b.refused.Store(&text)
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.forbidden)
	b.forbidden = make(chan struct{})
}

// untilForbidden gives a context that ends when the server forbids a request of its API: nothing would answer it.
func (b *Bus) untilForbidden(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	next := func() <-chan struct{} {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.forbidden
	}
	forbidden := next()
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-forbidden:
			}
			forbidden = next()
			if strings.Contains(*b.refused.Load(), b.apiPrefix) {
				cancel(errForbidden)
			}
		}
	})
	return ctx, func() {
		cancel(nil)
		watching.Wait()
	}
}

func (b *Bus) provisionError(ctx context.Context, err error, what string) error {
	if errors.Is(context.Cause(ctx), errForbidden) {
		return fault.Wrap(errors.New(*b.refused.Load()), fault.Forbidden, what,
			"make the streams as another user (`switchback provision`), and let the services only check them: SWITCHBACK_STREAMS_PROVISION=check")
	}
	hint := "see the NATS server's log"
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		hint = "start nats-server with JetStream (-js), for this account"
	case outOfStorage(err):
		hint = "make room on the disk of NATS, or let the records of requests reserve less of it than 1 GiB: SWITCHBACK_STREAMS_RECEIVED_MAX_BYTES=128MiB"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrNoResponders):
		hint = "check that NATS runs with JetStream and that this user may use " + b.apiPrefix + ">"
	}
	return fault.Wrap(err, fault.Unavailable, what, hint)
}

// outOfStorage tells whether a stream was refused for what it would reserve of the disk.
func outOfStorage(err error) bool {
	js, ok := errors.AsType[jetstream.JetStreamError](err)
	return ok && js.APIError() != nil && (js.APIError().ErrorCode == codeNoStorage || strings.Contains(js.APIError().Description, "insufficient storage"))
}

func streamDiffs(want, have jetstream.StreamConfig) []string {
	var d diffs
	slices.Sort(want.Subjects)
	slices.Sort(have.Subjects)
	d.add("subjects", want.Subjects, have.Subjects)
	d.add("retention", want.Retention, have.Retention)
	d.add("discard", want.Discard, have.Discard)
	d.add("replicas", want.Replicas, have.Replicas)
	d.add("storage", want.Storage, have.Storage)
	d.add("max_age", want.MaxAge, have.MaxAge)
	d.add("max_bytes", max(want.MaxBytes, 0), max(have.MaxBytes, 0))
	d.add("max_msgs", max(want.MaxMsgs, 0), max(have.MaxMsgs, 0))
	d.add("max_msgs_per_subject", max(want.MaxMsgsPerSubject, 0), max(have.MaxMsgsPerSubject, 0))
	d.add("duplicate_window", want.Duplicates, have.Duplicates)
	d.add("allow_direct", want.AllowDirect, have.AllowDirect)
	d.add("allow_rollup_hdrs", want.AllowRollup, have.AllowRollup)
	d.add("allow_msg_ttl", want.AllowMsgTTL, have.AllowMsgTTL)
	d.add("allow_msg_schedules", want.AllowMsgSchedules, have.AllowMsgSchedules)
	return d
}

func consumerDiffs(want, have jetstream.ConsumerConfig) []string {
	var d diffs
	slices.Sort(want.FilterSubjects)
	if have.FilterSubject != "" {
		have.FilterSubjects = []string{have.FilterSubject}
	}
	slices.Sort(have.FilterSubjects)
	d.add("filter_subjects", want.FilterSubjects, have.FilterSubjects)
	d.add("ack_policy", want.AckPolicy, have.AckPolicy)
	d.add("ack_wait", want.AckWait, have.AckWait)
	d.add("max_deliver", want.MaxDeliver, have.MaxDeliver)
	d.add("max_ack_pending", want.MaxAckPending, have.MaxAckPending)
	return d
}

type diffs []string

func (d *diffs) add(name string, want, have any) {
	if w, h := fmt.Sprint(want), fmt.Sprint(have); w != h {
		*d = append(*d, name+": want "+w+", have "+h)
	}
}
