package bus

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

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
	// Edge lays out the other side of a link instead: a listener's server that holds callbacks and run requests until a
	// forwarder has brought them to the streams proper.
	Edge         bool
	EdgeMaxBytes int64 // what it holds at most, 1 GiB; then the listener answers 503
}

// DefaultLayout gives the defaults.
func DefaultLayout() Layout { return Layout{}.withDefaults() }

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
	if l.EdgeMaxBytes == 0 {
		l.EdgeMaxBytes = 1 << 30
	}
	return l
}

// maxPerSubject is no limit in practice: a limit would drop callbacks that nobody has read yet. nats.go takes a
// stream for a bucket only when there is one.
const maxPerSubject = 1 << 20

// waitsSlack is how much longer than the longest wait everything in its stream is kept.
const waitsSlack = 24 * time.Hour

func (l Layout) streams() []jetstream.StreamConfig {
	bucket := func(name string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: subject.BucketStream(name), Subjects: []string{subject.BucketKeys(name)}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew,
			AllowDirect: true, AllowRollup: true, DenyDelete: true, AllowMsgTTL: true,
		}
	}
	// What ends with its process ends by its TTL; a marker tells those who watch.
	mortal := func(name string) jetstream.StreamConfig {
		c := bucket(name)
		c.SubjectDeleteMarkerTTL = markerTTL
		return c
	}
	objects := func(name string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: subject.ObjectStream(name), Subjects: subject.AllObjects(name), Discard: jetstream.DiscardNew,
			AllowDirect: true, AllowRollup: true, AllowMsgTTL: true,
		}
	}
	// As old as the messages that refer to them. Run documents go with their runs.
	payloads := objects(subject.BucketPayloads)
	payloads.MaxAge = max(l.MaxWait, l.KeepCallbacks) + waitsSlack
	received := jetstream.StreamConfig{
		Name: subject.StreamReceived, Subjects: []string{subject.AllReceived}, MaxAge: l.KeepReceived, MaxBytes: l.ReceivedMaxBytes,
		AllowDirect: true, AllowMsgTTL: true,
	}
	if l.Replicas == 1 && !l.Memory {
		// Records are no part of what is promised, and many: the server writes several of them to its file at once. It
		// does that for no other stream, and cannot for one that is replicated, which does it in any case.
		received.PersistMode = jetstream.AsyncPersistMode
	}
	if l.Edge {
		return l.everywhere([]jetstream.StreamConfig{
			{
				// Each is held until it has arrived. When it is full, new ones are refused, and their senders come again.
				Name: subject.StreamEdge, Subjects: []string{subject.AllCallbacks, subject.AllRunRequests}, Retention: jetstream.WorkQueuePolicy,
				Discard: jetstream.DiscardNew, MaxBytes: l.EdgeMaxBytes, AllowDirect: true, AllowMsgTTL: true,
			},
			mortal(subject.BucketGateways),
			bucket(subject.BucketDeliveries),
			payloads,
			received,
		})
	}
	return l.everywhere([]jetstream.StreamConfig{
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
		bucket(subject.BucketSlots),
		bucket(subject.BucketDeliveries),
		payloads,
		objects(subject.BucketDocuments),
		received,
		{Name: subject.StreamDead, Subjects: []string{subject.AllDead}, MaxAge: keepDead, AllowDirect: true},
	})
}

// everywhere adds what all streams have in common.
func (l Layout) everywhere(all []jetstream.StreamConfig) []jetstream.StreamConfig {
	for i := range all {
		all[i].Replicas, all[i].Duplicates = l.Replicas, l.DedupeWindow
		if l.Memory {
			all[i].Storage = jetstream.MemoryStorage
		}
	}
	return all
}

// EdgeInFlight is how many messages of an edge are on their way at once.
const EdgeInFlight = 256

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
	if l.Edge {
		// Not more at once than a forwarder takes: what waits to be delivered again is then in nobody's way for long.
		c.Durable, c.MaxAckPending = subject.ConsumerForwarder, EdgeInFlight
		return map[string]jetstream.ConsumerConfig{subject.StreamEdge: c}
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
