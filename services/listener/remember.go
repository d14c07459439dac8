package listener

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// seen tells whether a delivery was taken before, longer ago than JetStream's own window recognises it, and the run that
// it started. Where that cannot be read it was not: taking it twice harms less than not at all.
func (s *server) seen(ctx context.Context, id string, keep time.Duration) (run string, taken bool) {
	if s.store == nil || id == "" || keep <= 0 {
		return "", false
	}
	e, err := s.store.Bucket(subject.BucketDeliveries).Get(ctx, id)
	if err != nil {
		if !errors.Is(err, bus.ErrNotFound) {
			s.storm.Do(func() { s.log.Warn("deliveries that were taken before cannot be looked up", slog.Any("error", err)) })
		}
		return "", false
	}
	return string(e.Value), true
}

// remember marks a delivery as taken. It is called when its item is stored, never before: a crash between the two leaves
// the window of JetStream to recognise it.
func (s *server) remember(ctx context.Context, id, run string, keep time.Duration) {
	if s.store == nil || id == "" || keep <= 0 {
		return
	}
	if _, err := s.store.Bucket(subject.BucketDeliveries).Create(ctx, id, []byte(run), keep); err != nil && !errors.Is(err, bus.ErrConflict) {
		s.storm.Do(func() { s.log.Warn("a delivery is not remembered beyond JetStream's window", slog.Any("error", err)) })
	}
}
