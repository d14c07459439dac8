// Package system runs Switchback's services as the measured processes do: all in one with an embedded NATS, or each part in its own.
package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/switchbackhq/switchback/bench/server"
	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/pkg/telemetry"
	"github.com/switchbackhq/switchback/services/listener"
	"github.com/switchbackhq/switchback/services/runner"
)

const (
	startTime = 2 * time.Minute // bounds connecting and making the streams, after a crash of a large store too
	closeTime = 5 * time.Second
)

// Args say what a process runs.
type Args struct {
	NATS     string       // URL of the server
	Embed    *server.Args // or one in this process
	Document string       // the compose file's text
	Listener bool
	Runner   bool
}

// Started says where NATS is.
type Started struct{ NATS string }

// System is the process's role. Its methods are called by the bench.
type System struct {
	ctx      context.Context //nolint:containedctx // the life of the process; net/rpc methods are given none
	embedded *server.Embedded
	bus      *bus.Bus
	ended    chan error // of the services, when they were started
}

// New makes a system that Start starts.
func New(ctx context.Context) *System { return &System{ctx: ctx} }

// Start starts what the arguments name and returns when all of it is ready.
func (s *System) Start(args Args, started *Started) error {
	// The log goes to the parent, which keeps the end of it: as much work as writing it to a file.
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	document, err := compose.Parse([]byte(args.Document), os.LookupEnv)
	if err != nil {
		return fmt.Errorf("read the compose file: %w", err)
	}
	options := bus.Options{URL: args.NATS, Name: "bench", Logger: log}
	started.NATS = args.NATS
	if args.Embed != nil {
		if s.embedded, err = server.Start(*args.Embed); err != nil {
			return err
		}
		options.InProcess, started.NATS = s.embedded, s.embedded.ClientURL()
	}
	if err := s.connect(options); err != nil {
		return err
	}
	registry := telemetry.NewRegistry("bench")
	var services []supervise.Service
	if args.Listener {
		l, err := listener.New(listener.Config{}, listener.Deps{
			Bus: s.bus, Document: document, Getenv: os.LookupEnv, Logger: log, Registry: registry,
		})
		if err != nil {
			return fmt.Errorf("make the listener: %w", err)
		}
		services = append(services, l)
	}
	if args.Runner {
		services = append(services, runner.New(runner.Config{}, runner.Deps{
			Bus: s.bus, Document: document, Getenv: os.LookupEnv, Logger: log, Registry: registry,
		}))
	}
	return s.serve(log, services)
}

func (s *System) connect(options bus.Options) (err error) {
	ctx, cancel := context.WithTimeout(s.ctx, startTime)
	defer cancel()
	if s.bus, err = bus.Connect(ctx, options); err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	if err := s.bus.Provision(ctx, bus.Layout{}); err != nil {
		return fmt.Errorf("make the streams: %w", err)
	}
	return nil
}

// serve runs the services until the process ends, and returns when they are ready.
func (s *System) serve(log *slog.Logger, services []supervise.Service) error {
	ready := make(chan struct{})
	services = append(services, supervise.Func("ready", func(ctx context.Context) error { // started when all others are
		close(ready)
		<-ctx.Done()
		return nil
	}))
	s.ended = make(chan error, 1)
	go func() { s.ended <- supervise.Run(s.ctx, log, services...) }()
	select {
	case <-ready:
		return nil
	case err := <-s.ended:
		s.ended = nil
		return errors.Join(errors.New("the services ended before they were ready"), err)
	}
}

// Streams tells of the embedded server's streams.
func (s *System) Streams(_ struct{}, streams *[]server.Stream) (err error) {
	if s.embedded == nil {
		return errors.New("NATS is not embedded in this process")
	}
	*streams, err = s.embedded.Streams()
	return err
}

// Close waits for the services, which end with the context, disconnects, and ends an embedded server.
func (s *System) Close() error {
	var errs []error
	if s.ended != nil {
		errs = append(errs, <-s.ended)
	}
	if s.bus != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		errs = append(errs, s.bus.Close(ctx))
		cancel()
	}
	if s.embedded != nil {
		errs = append(errs, s.embedded.Close())
	}
	return errors.Join(errs...)
}
