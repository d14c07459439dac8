package bus

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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

// Provision creates what is missing and logs what differs; it changes nothing that exists.
func (b *Bus) Provision(ctx context.Context, l Layout) error {
	l = l.withDefaults()
	for _, c := range l.streams() {
		_, err := b.js.CreateStream(ctx, c)
		if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("create stream %s: %w", c.Name, err)
		}
	}
	for stream, c := range l.consumers() {
		if _, err := b.js.CreateConsumer(ctx, stream, c); err != nil && !errors.Is(err, jetstream.ErrConsumerExists) {
			return fmt.Errorf("create consumer %s of %s: %w", c.Durable, stream, err)
		}
	}
	return nil
}

func (l Layout) streams() []jetstream.StreamConfig {
	storage := jetstream.FileStorage
	if l.Memory {
		storage = jetstream.MemoryStorage
	}
	var seed [32]byte
	_, _ = rand.Read(seed[:])
	bucket := func(name string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: "KV_" + name, Subjects: []string{"$KV." + name + ".>"},
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, AllowDirect: true, AllowRollup: true, DenyDelete: true,
			AllowMsgTTL: true, SubjectDeleteMarkerTTL: 0, Duplicates: l.DedupeWindow, MaxMsgSize: -1, MaxMsgs: -1, MaxBytes: -1,
		}
	}
	all := []jetstream.StreamConfig{
		{
			Name: subject.StreamRuns, Subjects: []string{subject.AllRunRequests}, Retention: jetstream.WorkQueuePolicy,
			Duplicates: l.DedupeWindow, AllowDirect: true, Metadata: map[string]string{"switchback-seed": hex.EncodeToString(seed[:])},
		},
		{
			Name:     subject.StreamWaits,
			Subjects: []string{subject.AllWaits, subject.AllCallbacks, subject.AllTimers, subject.AllTimeouts},
			Discard:  jetstream.DiscardOld, MaxMsgsPerSubject: 1 << 20, AllowDirect: true, AllowRollup: true,
			AllowMsgTTL: true, AllowMsgSchedules: true, Duplicates: l.DedupeWindow,
		},
		bucket(subject.BucketRuns),
		bucket(subject.BucketGateways),
		bucket(subject.BucketDefinitions),
		{Name: subject.StreamReceived, Subjects: []string{subject.AllReceived}, MaxAge: l.KeepReceived, MaxBytes: l.ReceivedMaxBytes, AllowDirect: true},
		{Name: subject.StreamDead, Subjects: []string{subject.AllDead}, MaxAge: 30 * 24 * time.Hour, AllowDirect: true},
	}
	for i := range all {
		all[i].Storage, all[i].Replicas = storage, l.Replicas
	}
	return all
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

// RunSeed is the secret that run ids are made from; it is made with the stream of requests.
func (b *Bus) RunSeed(ctx context.Context) ([]byte, error) {
	s, err := b.js.Stream(ctx, subject.StreamRuns)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", subject.StreamRuns, err)
	}
	return hex.DecodeString(s.CachedInfo().Config.Metadata["switchback-seed"])
}
