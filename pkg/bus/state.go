package bus

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Stats are what a Bus has counted since it was made.
type Stats struct {
	Connected  bool
	Reconnects uint64
	// PublishFailures are the publishes that JetStream did not acknowledge, by the code of their fault; those given up
	// because the caller's time was over are "abandoned". A condition that was not met is an answer and no failure.
	PublishFailures map[string]uint64
}

// Stats gives what has been counted so far.
func (b *Bus) Stats() Stats {
	return Stats{Connected: b.nc.IsConnected(), Reconnects: b.nc.Stats().Reconnects, PublishFailures: b.failures.all()}
}

// failures counts by reason. The usual publish does not come here.
type failures struct {
	mu sync.Mutex
	n  map[string]uint64
}

// abandoned is the reason of a publish whose caller's time was over.
const abandoned = "abandoned"

// note counts an error of a publish, and hands it on.
func (f *failures) note(err error) error {
	if errors.Is(err, ErrConflict) {
		return err
	}
	reason := string(fault.CodeOf(err))
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		reason = abandoned
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == nil {
		f.n = map[string]uint64{}
	}
	f.n[reason]++
	return err
}

// all gives the counts, zeros as well: a rate begins at zero.
func (f *failures) all() map[string]uint64 {
	all := map[string]uint64{abandoned: 0}
	for _, c := range []fault.Code{fault.Unavailable, fault.TooLarge, fault.Forbidden, fault.Invalid} {
		all[string(c)] = 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(all, f.n)
	return all
}

// Backlog is what a durable consumer has before it.
type Backlog struct {
	Pending        uint64 // messages that nobody has been given yet
	Unacknowledged int    // messages that somebody is working on
	Redelivered    int    // of these, those that were given before
	// Oldest is when the server took the first of the pending ones; zero when there is none.
	Oldest time.Time
}

// Backlog asks how far a durable consumer is behind.
func (b *Bus) Backlog(ctx context.Context, stream, consumer string) (Backlog, error) {
	var info struct {
		Delivered struct {
			Stream uint64 `json:"stream_seq"`
		} `json:"delivered"`
		Pending        uint64 `json:"num_pending"`
		Unacknowledged int    `json:"num_ack_pending"`
		Redelivered    int    `json:"num_redelivered"`
		Config         struct {
			Filter  string   `json:"filter_subject"`
			Filters []string `json:"filter_subjects"`
		} `json:"config"`
	}
	if err := b.api(ctx, "CONSUMER.INFO."+stream+"."+consumer, nil, &info, time.Now().Add(b.o.PublishTimeout)); err != nil {
		return Backlog{}, b.readError(err, stream, "")
	}
	l := Backlog{Pending: info.Pending, Unacknowledged: info.Unacknowledged, Redelivered: info.Redelivered}
	if l.Pending == 0 {
		return l, nil
	}
	filters := info.Config.Filters
	if info.Config.Filter != "" {
		filters = append(filters, info.Config.Filter)
	}
	for _, filter := range filters {
		m, err := b.Next(ctx, stream, filter, info.Delivered.Stream+1)
		if errors.Is(err, ErrNotFound) {
			continue // taken meanwhile
		}
		if err != nil {
			return l, err
		}
		if l.Oldest.IsZero() || m.Time.Before(l.Oldest) {
			l.Oldest = m.Time
		}
	}
	return l, nil
}

// Holding is what a stream holds.
type Holding struct{ Messages, Bytes uint64 }

// Holding asks how much a stream holds.
func (b *Bus) Holding(ctx context.Context, stream string) (Holding, error) {
	var info struct {
		State struct {
			Messages uint64 `json:"messages"`
			Bytes    uint64 `json:"bytes"`
		} `json:"state"`
	}
	if err := b.api(ctx, "STREAM.INFO."+stream, nil, &info, time.Now().Add(b.o.PublishTimeout)); err != nil {
		return Holding{}, b.readError(err, stream, "")
	}
	return Holding{Messages: info.State.Messages, Bytes: info.State.Bytes}, nil
}
