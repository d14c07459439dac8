package bus

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Layout says how the streams and buckets are made. Zero values mean the defaults.
type Layout struct {
	Replicas         int           // 1
	Memory           bool          // keep everything in memory (tests)
	MaxWait          time.Duration // longest wait, 30 d
	KeepCallbacks    time.Duration // 72 h
	KeepRuns         time.Duration // ended runs, 7 d
	KeepReceived     time.Duration // 72 h
	ReceivedMaxBytes int64         // 1 GiB
	DedupeWindow     time.Duration // 2 min
	AckWait          time.Duration // 30 s
}

func (l Layout) withDefaults() Layout {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	if l.Replicas == 0 {
		l.Replicas = 1
	}
	set(&l.MaxWait, 30*24*time.Hour)
	set(&l.KeepCallbacks, 72*time.Hour)
	set(&l.KeepRuns, 7*24*time.Hour)
	set(&l.KeepReceived, 72*time.Hour)
	set(&l.DedupeWindow, 2*time.Minute)
	set(&l.AckWait, 30*time.Second)
	if l.ReceivedMaxBytes == 0 {
		l.ReceivedMaxBytes = 1 << 30
	}
	return l
}

// Provision creates what is missing. What exists stays as it is: where it differs from l, that is logged, for an
// operator to decide. Several services may provision at once.
func (b *Bus) Provision(ctx context.Context, l Layout) error {
	l = l.withDefaults()
	b.layout.Store(&l)
	for _, want := range l.streams() {
		s, err := b.js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			if _, err = b.js.CreateStream(ctx, want); err == nil {
				b.log.Info("made a stream", slog.String("stream", want.Name), slog.Int("replicas", want.Replicas))
				continue
			}
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another service was quicker
				s, err = b.js.Stream(ctx, want.Name)
			}
		}
		if err != nil {
			return b.provisionError(err, "stream "+want.Name)
		}
		if d := streamDiffs(want, s.CachedInfo().Config); len(d) > 0 {
			b.log.Warn("a stream is not laid out as configured", slog.String("stream", want.Name), slog.Any("differences", d))
		}
	}
	for stream, want := range l.consumers() {
		c, err := b.js.Consumer(ctx, stream, want.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			// Where another service was quicker, this changes nothing.
			c, err = b.js.CreateOrUpdateConsumer(ctx, stream, want)
		}
		if err != nil {
			return b.provisionError(err, "consumer "+want.Durable+" of "+stream)
		}
		if d := consumerDiffs(want, c.CachedInfo().Config); len(d) > 0 {
			b.log.Warn("a consumer is not laid out as configured", slog.String("stream", stream), slog.String("consumer", want.Durable), slog.Any("differences", d))
		}
	}
	b.streams.forget()
	return nil
}

func (b *Bus) provisionError(err error, what string) error {
	hint := "see the NATS server's log"
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		hint = "start nats-server with JetStream (-js), for this account"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrNoResponders):
		hint = "check that NATS runs with JetStream and that this user may use $JS.API.>"
	}
	return fault.Wrap(err, fault.Unavailable, "cannot make the "+what, hint)
}

func streamDiffs(want, have jetstream.StreamConfig) []string {
	var d diffs
	slices.Sort(want.Subjects)
	slices.Sort(have.Subjects)
	d.add("subjects", want.Subjects, have.Subjects)
	d.add("retention", want.Retention, have.Retention)
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

// maxPerSubject is no limit in practice: a limit would drop callbacks that nobody has read yet. nats.go takes a
// stream for a bucket only when there is one.
const maxPerSubject = 1 << 20

// waitsSlack is how much longer than the longest wait everything in its stream is kept.
const waitsSlack = 24 * time.Hour

func (l Layout) streams() []jetstream.StreamConfig {
	bucket := func(name string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: "KV_" + name, Subjects: []string{"$KV." + name + ".>"}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew,
			AllowDirect: true, AllowRollup: true, DenyDelete: true, AllowMsgTTL: true,
		}
	}
	// What ends with its process ends by its TTL; a marker tells those who watch.
	mortal := func(name string) jetstream.StreamConfig {
		c := bucket(name)
		c.SubjectDeleteMarkerTTL = markerTTL
		return c
	}
	all := []jetstream.StreamConfig{
		{
			Name: subject.StreamRuns, Subjects: []string{subject.AllRunRequests}, Retention: jetstream.WorkQueuePolicy,
			AllowDirect: true, Metadata: map[string]string{seedName: newSeed()},
		},
		{
			// Waits, callbacks and timers together, so that the server orders them. Schedules want Discard old, and that
			// with a limit of size or number would evict waits: there is none but age.
			Name:     subject.StreamWaits,
			Subjects: []string{subject.AllWaits, subject.AllCallbacks, subject.AllTimers, subject.AllTimeouts},
			Discard:  jetstream.DiscardOld, MaxMsgsPerSubject: maxPerSubject, MaxAge: max(l.MaxWait, l.KeepCallbacks) + waitsSlack,
			AllowDirect: true, AllowRollup: true, AllowMsgTTL: true, AllowMsgSchedules: true,
		},
		bucket(subject.BucketRuns),
		mortal(subject.BucketGateways),
		mortal(subject.BucketLeases),
		bucket(subject.BucketDefinitions),
		bucket(subject.BucketDeliveries),
		{
			Name: subject.StreamReceived, Subjects: []string{subject.AllReceived}, MaxAge: l.KeepReceived, MaxBytes: l.ReceivedMaxBytes,
			AllowDirect: true, AllowMsgTTL: true,
		},
		{Name: subject.StreamDead, Subjects: []string{subject.AllDead}, MaxAge: keepDead, AllowDirect: true},
	}
	for i := range all {
		all[i].Replicas, all[i].Duplicates = l.Replicas, l.DedupeWindow
		if l.Memory {
			all[i].Storage = jetstream.MemoryStorage
		}
	}
	return all
}

const (
	keepDead = 30 * 24 * time.Hour
	seedName = "switchback-seed"
)

func newSeed() string {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails
	return hex.EncodeToString(seed[:])
}

func (l Layout) consumers() map[string]jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		Durable: subject.ConsumerRunner, AckPolicy: jetstream.AckExplicitPolicy, AckWait: l.AckWait, MaxDeliver: -1, MaxAckPending: 1 << 16,
	}
	runs, waits := c, c
	runs.FilterSubjects = []string{subject.AllRunRequests}
	waits.FilterSubjects = []string{subject.AllCallbacks, subject.AllTimeouts}
	return map[string]jetstream.ConsumerConfig{subject.StreamRuns: runs, subject.StreamWaits: waits}
}

// RunSeed is the secret that run ids are made from. It is made with the stream of requests and stays with it.
func (b *Bus) RunSeed(ctx context.Context) ([]byte, error) {
	s, err := b.js.Stream(ctx, subject.StreamRuns)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "cannot read the stream "+subject.StreamRuns, "run `switchback provision`")
	}
	seed, err := hex.DecodeString(s.CachedInfo().Config.Metadata[seedName])
	if err != nil || len(seed) == 0 {
		return nil, fault.Wrap(err, fault.Internal, "the stream "+subject.StreamRuns+" has no "+seedName+" in its metadata",
			"add one of 64 random hex digits: nats stream edit "+subject.StreamRuns+" --metadata "+seedName+"=…")
	}
	return seed, nil
}
