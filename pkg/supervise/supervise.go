// Package supervise starts services in order, each ready before the next, and stops them in reverse.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Service is something that runs until it is told to stop.
//
// Run blocks. When ctx ends (its cause is [ErrStopping]) it finishes what is in flight, waits for every
// goroutine that it started, and returns; the error of the ended context is then no failure. An error
// before that is one, and stops every other service. A nil before that means that the work is done,
// and stops the others too. Run bounds its own shutdown: nobody interrupts it but a second signal.
type Service interface {
	Name() string
	Run(ctx context.Context) error
}

// Readier is a Service that closes a channel when it can be used; the services after it start then.
type Readier interface {
	Ready() <-chan struct{}
}

// ErrStopping is the cause of a service's ended context.
var ErrStopping = errors.New("stopping")

// stopWarning is how often a service that takes its time to stop is named in the log.
const stopWarning = 5 * time.Second

// Run runs the services until ctx ends or the first of them returns, stops them in reverse order, and returns
// when all have returned. A panic in a service's Run is an error ([PanicError]). Errors are joined, the first
// failure first; the end of ctx is none.
func Run(ctx context.Context, log *slog.Logger, services ...Service) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	g := &group{log: log, ended: make(chan *running, len(services))}
	for _, s := range services {
		if !g.start(ctx, s) {
			break
		}
	}
	if len(g.started) == len(services) && len(services) > 0 && g.first == nil {
		select {
		case g.first = <-g.ended:
		case <-ctx.Done():
		}
	}
	return g.stop(ctx)
}

// Func makes a Service of a function.
func Func(name string, run func(ctx context.Context) error) Service {
	return &funcService{name: name, run: run}
}

type funcService struct {
	name string
	run  func(ctx context.Context) error
}

func (f *funcService) Name() string                  { return f.name }
func (f *funcService) Run(ctx context.Context) error { return f.run(ctx) }

// group is the services of one Run.
type group struct {
	log     *slog.Logger
	started []*running
	ended   chan *running
	first   *running // the first that returned before it was told to stop
}

// running is a service that was started.
type running struct {
	name   string
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when Run has returned
	err    error         // readable when done is closed
}

// start starts s and waits until it is ready; false means that it is time to stop.
func (g *group) start(ctx context.Context, s Service) bool {
	if ctx.Err() != nil {
		return false
	}
	// Not a child of ctx: the end of ctx must reach the services one by one, the last first.
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	r := &running{name: s.Name(), cancel: cancel, done: make(chan struct{})}
	g.started = append(g.started, r)
	go func() {
		r.err = errExited // stays when Run neither returns nor panics
		defer func() {
			close(r.done)
			g.ended <- r
		}()
		r.err = call(own, s)
	}()
	if readier, ok := s.(Readier); ok {
		select {
		case <-readier.Ready():
		case g.first = <-g.ended:
			return false
		case <-ctx.Done():
			return false
		}
	}
	g.log.Debug("service started", slog.String("service", r.name))
	return true
}

// stop stops what was started, the last first, and gives the joined errors.
func (g *group) stop(ctx context.Context) error {
	var errs []error
	switch {
	case g.first == nil && ctx.Err() != nil:
		g.log.Info("stopping", slog.Any("cause", context.Cause(ctx)))
	case g.first != nil && g.first.err != nil:
		errs = append(errs, fmt.Errorf("%s: %w", g.first.name, g.first.err))
		g.log.Error("service failed, stopping all", slog.String("service", g.first.name), slog.Any("error", g.first.err))
	case g.first != nil:
		g.log.Debug("service is done, stopping all", slog.String("service", g.first.name))
	}
	for _, r := range slices.Backward(g.started) {
		r.cancel(ErrStopping)
		g.await(r)
		if r == g.first || r.err == nil || onlyStopped(r.err) {
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %w", r.name, r.err))
		g.log.Error("service failed while stopping", slog.String("service", r.name), slog.Any("error", r.err))
	}
	return errors.Join(errs...)
}

// await waits for r and says so when it takes long.
func (g *group) await(r *running) {
	began := time.Now()
	ticker := time.NewTicker(stopWarning)
	defer ticker.Stop()
	for {
		select {
		case <-r.done:
			g.log.Debug("service stopped", slog.String("service", r.name))
			return
		case <-ticker.C:
			g.log.Warn("service is still stopping; a second signal ends the process at once",
				slog.String("service", r.name), slog.Duration("for", time.Since(began)))
		}
	}
}

// onlyStopped tells whether err is nothing but the end of a context, in all of its branches.
func onlyStopped(err error) bool {
	switch e := err.(type) { //nolint:errorlint // walks the tree itself: errors.Is would hide a failure joined to a cancellation
	case interface{ Unwrap() []error }:
		for _, branch := range e.Unwrap() {
			if !onlyStopped(branch) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		return onlyStopped(e.Unwrap())
	default:
		return errors.Is(err, context.Canceled) || errors.Is(err, ErrStopping)
	}
}
