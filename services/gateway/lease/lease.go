// Package lease lets one of several processes hold a thing: a key in NATS that its holder renews and that dies with it.
package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Options say which lease, and for whom.
type Options struct {
	Bucket *bus.Bucket
	Key    string
	Holder string        // this process, unlike every other
	TTL    time.Duration // of a holder that died; at least a second, in whole seconds
	Log    *slog.Logger
}

// ErrLost is the cause of the end of a holder's context when the lease could not be renewed.
var ErrLost = errors.New("the lease is lost")

// value is what the key holds.
type value struct {
	Holder string `json:"holder"`
}

// A lease is renewed four times in its TTL, and given up when it has not been for two thirds of it: the last third is
// for hold to end, before the server lets another one in.
const (
	renewals   = 4
	giveUpNum  = 2
	giveUpPart = 3
	retry      = 250 * time.Millisecond
	askEvery   = 1500 * time.Millisecond // how often a free lease is asked for, should nobody tell that it is free
)

// Run calls hold whenever this process has the lease, and wait while another one has it (told who), until ctx ends.
// hold's context ends with ctx, or when the lease is lost; the lease is renewed until hold has returned, and then
// released.
func Run(ctx context.Context, o Options, wait func(holder string), hold func(ctx context.Context)) {
	for ctx.Err() == nil {
		h := &holding{Options: o}
		if !h.acquire(ctx, wait) {
			return
		}
		h.run(ctx, hold)
	}
}

// holding is one time of having the lease.
type holding struct {
	Options
	value    []byte
	rev      uint64
	lastGood time.Time // when the last renewal that was acknowledged was sent
}

// acquire waits until the lease is free and takes it.
func (h *holding) acquire(ctx context.Context, wait func(holder string)) bool {
	told := ""
	for {
		now := time.Now()
		h.value = fmt.Appendf(nil, `{"holder":%q,"since":%q}`, h.Holder, now.UTC().Format(time.RFC3339Nano))
		rev, err := h.Bucket.Create(ctx, h.Key, h.value, h.TTL)
		if err == nil {
			h.rev, h.lastGood = rev, now
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if !errors.Is(err, bus.ErrConflict) {
			h.Log.Warn("cannot ask for the lease of a tunnel; trying again", slog.String("lease", h.Key), slog.Any("error", err))
		} else if mine, other := h.look(ctx); mine {
			return true
		} else if other != told && other != "" {
			told = other
			wait(other)
		}
		h.untilFree(ctx)
	}
}

// look reads who has the lease. It may be this process: an answer that was lost is no refusal.
func (h *holding) look(ctx context.Context) (mine bool, other string) {
	sent := time.Now()
	e, err := h.Bucket.Get(ctx, h.Key)
	if err != nil {
		return false, ""
	}
	var v value
	if json.Unmarshal(e.Value, &v) != nil {
		return false, "somebody unknown"
	}
	if v.Holder != h.Holder {
		return false, v.Holder
	}
	// What lies there may be older than this look: it is renewed before it is relied on.
	rev, err := h.Bucket.Update(ctx, h.Key, h.value, e.Revision, h.TTL)
	if err != nil {
		return false, ""
	}
	h.rev, h.lastGood = rev, sent
	return true, ""
}

// untilFree waits until the key goes, or for askEvery.
func (h *holding) untilFree(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askEvery)
	defer cancel()
	_ = h.Bucket.Watch(ctx, subject.Key(h.Key), func(e *bus.Entry) { // an error is the end of waiting too
		if e != nil && e.Deleted && e.Key == h.Key {
			cancel()
		}
	})
	<-ctx.Done()
}

// run holds the lease for as long as hold runs.
func (h *holding) run(ctx context.Context, hold func(ctx context.Context)) {
	holder, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var renewer sync.WaitGroup
	kept := true
	renewer.Go(func() {
		if kept = h.renew(renewing); !kept {
			lose(ErrLost)
		}
	})
	hold(holder)
	stop()
	renewer.Wait()
	if !kept {
		return
	}
	releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.TTL)
	defer cancel()
	if err := h.release(releasing); err != nil {
		h.Log.Warn("cannot release the lease of a tunnel; it ends by itself", slog.String("lease", h.Key), slog.Any("error", err))
	}
}

// release gives the lease back. A renewal that was cut short may have been stored: then the key lies at another revision.
func (h *holding) release(ctx context.Context) error {
	err := h.Bucket.DeleteAt(ctx, h.Key, h.rev)
	if !errors.Is(err, bus.ErrConflict) {
		return err
	}
	if mine, _ := h.look(ctx); mine {
		return h.Bucket.DeleteAt(ctx, h.Key, h.rev)
	}
	return nil // it has gone already
}

// renew renews until ctx ends, and tells whether the lease was kept.
func (h *holding) renew(ctx context.Context) (kept bool) {
	every := h.TTL / renewals
	for pause := every; ; {
		select {
		case <-ctx.Done():
			return true
		case <-time.After(pause):
		}
		pause = every
		sent := time.Now()
		if h.tooLate(sent) {
			h.Log.Error("the lease of a tunnel was not renewed in time: giving the tunnel up", slog.String("lease", h.Key))
			return false
		}
		rev, err := h.ask(ctx)
		switch {
		case err == nil:
			h.rev, h.lastGood = rev, sent
			continue
		case ctx.Err() != nil:
			return true
		case errors.Is(err, bus.ErrConflict):
			// An earlier renewal may have been stored though its answer never came.
			if mine, other := h.look(ctx); mine {
				continue
			} else if other != "" {
				h.Log.Error("another process holds the lease of a tunnel: giving the tunnel up", slog.String("lease", h.Key), slog.String("holder", other))
				return false
			}
		}
		pause = retry
	}
}

// ask sends one renewal. The TTL goes with every one: an update without it would keep the key for ever.
func (h *holding) ask(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Until(h.deadline()))
	defer cancel()
	return h.Bucket.Update(ctx, h.Key, h.value, h.rev, h.TTL)
}

func (h *holding) deadline() time.Time { return h.lastGood.Add(h.TTL * giveUpNum / giveUpPart) }

// tooLate looks at both clocks: while a machine sleeps, the one that only goes forward may stand still.
func (h *holding) tooLate(now time.Time) bool {
	return !now.Before(h.deadline()) || !now.Round(0).Before(h.deadline().Round(0))
}
