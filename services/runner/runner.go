// Package runner takes run requests and callbacks from NATS and carries runs on: from a message, through what it sets off, to a saved run document and a wait.
package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/telemetry"
	"github.com/switchbackhq/switchback/pkg/workers"
	"github.com/switchbackhq/switchback/services/runner/action"
	"github.com/switchbackhq/switchback/services/runner/address"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/journal"
	"github.com/switchbackhq/switchback/services/runner/server"
	"github.com/switchbackhq/switchback/services/runner/slot"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

// Config bounds a runner. Zero values mean the defaults.
type Config struct {
	// MaxConcurrentRuns bounds the runs that are being worked on at once, those that wait not counted; default 256.
	MaxConcurrentRuns int `koanf:"max_concurrent_runs"`
	// KeepRuns is how long ended runs are kept; default 7 d.
	KeepRuns time.Duration `koanf:"-"`
	// WaitTimeout is how long a wait may take for which the file says nothing; default 24 h.
	WaitTimeout time.Duration `koanf:"wait_timeout"`
	// GatewayWait is how long a run waits for a gateway that is not up; default 60 s.
	GatewayWait time.Duration `koanf:"gateway_wait"`
	// ListenerHost is the host at which listeners are reached that have neither a public_url nor a gateway: a proxy's
	// in front of them. Default: the listener's own.
	ListenerHost string `koanf:"listener_host"`
	// ShutdownGrace is how long requests in flight may go on after a stop; default 20 s.
	ShutdownGrace time.Duration `koanf:"shutdown_grace"`
	// MaxDeliveries is how often a message that cannot be processed is tried before it is given up; default 5.
	MaxDeliveries int `koanf:"max_deliveries"`
	// OrphanGrace is how long a callback may be early before it is counted as one that nobody waits for; default 1 min.
	OrphanGrace time.Duration `koanf:"orphan_grace"`
	// MaxResponse bounds an outside service's response, in bytes, where its component sets no other; default 16 MiB.
	MaxResponse int64 `koanf:"max_response"`
	// AllowShell lets components of type shell run.
	AllowShell bool `koanf:"allow_shell"`
	// AllowHTTPServer lets components of type http-server start their servers.
	AllowHTTPServer bool `koanf:"allow_http_server"`
}

// DefaultConfig gives the defaults.
func DefaultConfig() Config { return Config{}.withDefaults() }

func (c Config) withDefaults() Config {
	if c.MaxConcurrentRuns == 0 {
		c.MaxConcurrentRuns = 256
	}
	if c.KeepRuns == 0 {
		c.KeepRuns = 7 * 24 * time.Hour
	}
	if c.WaitTimeout == 0 {
		c.WaitTimeout = engine.DefaultWaitTimeout
	}
	if c.GatewayWait == 0 {
		c.GatewayWait = time.Minute
	}
	if c.ShutdownGrace == 0 {
		c.ShutdownGrace = 20 * time.Second
	}
	if c.MaxDeliveries == 0 {
		c.MaxDeliveries = 5
	}
	if c.OrphanGrace == 0 {
		c.OrphanGrace = time.Minute
	}
	if c.MaxResponse == 0 {
		c.MaxResponse = 16 << 20
	}
	return c
}

// Deps are what a runner works with.
type Deps struct {
	Bus      *bus.Bus
	Document *compose.Document
	Getenv   func(string) (string, bool)
	Logger   *slog.Logger
	Registry prometheus.Registerer // nil: metrics are not published
	Tracer   trace.Tracer          // nil: no traces
}

// Runner executes workflows. Any number of them share the work.
type Runner struct {
	cfg         Config
	bus         *bus.Bus
	log         *slog.Logger
	metrics     *metrics
	tracer      trace.Tracer // nil: off
	journal     *journal.Journal
	waits       *wait.Waits
	slots       *slot.Slots
	performer   *action.Performer
	servers     *server.Servers // nil: not allowed
	book        *address.Book
	definitions *definitions
	arrivals    *arrivals
	orphans     *orphans
	seed        []byte
	invocations *workers.Pool // what performs them
	ready       chan struct{}

	mu         sync.Mutex
	active     map[string][]*activation // by run id: what a cancel stops
	ledgers    map[string]*ledger       // by run id: what activations have in common
	performing map[string]*performance  // by invocation: what a callback may overtake
	meeting    int                      // callbacks that wait for such an activation
}

// New gives a runner. The streams must be there before Run.
func New(cfg Config, deps Deps) *Runner {
	cfg = cfg.withDefaults()
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Registry != nil {
		deps.Registry.MustRegister(newBacklog(deps.Bus, deps.Logger))
	}
	options := action.Options{
		Logger: deps.Logger, MaxResponse: cfg.MaxResponse, NATS: messenger{deps.Bus}, AllowShell: cfg.AllowShell, Tracer: deps.Tracer,
	}
	var servers *server.Servers
	if cfg.AllowHTTPServer {
		servers = server.New(deps.Logger, deps.Getenv)
		options.Servers = servers
	}
	r := &Runner{
		cfg:         cfg,
		bus:         deps.Bus,
		log:         deps.Logger,
		metrics:     newMetrics(deps.Registry),
		tracer:      deps.Tracer,
		journal:     journal.New(deps.Bus, cfg.KeepRuns),
		waits:       wait.New(deps.Bus),
		slots:       slot.New(deps.Bus),
		performer:   action.New(options),
		servers:     servers,
		book:        address.New(deps.Getenv, cfg.GatewayWait, cfg.ListenerHost),
		definitions: newDefinitions(deps.Bus.Bucket(subject.BucketDefinitions), deps.Document, deps.Getenv, deps.Logger),
		arrivals:    newArrivals(),
		orphans:     newOrphans(cfg.OrphanGrace),
		ready:       make(chan struct{}),
		active:      map[string][]*activation{},
		ledgers:     map[string]*ledger{},
		performing:  map[string]*performance{},
	}
	r.orphans.count = r.fate
	r.orphans.find = func(ctx context.Context, cb *event.Callback) (fate.Fate, error) {
		_, _, became, err := r.find(ctx, cb, false)
		return became, err
	}
	return r
}

// Name is the service's name.
func (r *Runner) Name() string { return "runner" }

// Ready is closed when the runner takes requests.
func (r *Runner) Ready() <-chan struct{} { return r.ready }

// Run works until ctx ends; then it takes nothing new, lets what is under way come to its end for ShutdownGrace, and
// hands back the rest.
func (r *Runner) Run(ctx context.Context) error {
	if r.servers != nil {
		defer r.servers.Close() // after all that may need them
	}
	seed, err := r.bus.RunSeed(ctx)
	if err != nil {
		return fmt.Errorf("runner: %w", err)
	}
	r.seed = seed
	if err := r.definitions.publish(ctx, r.definitions.current().doc); err != nil {
		return fmt.Errorf("runner: publish the definition: %w", err)
	}
	r.invocations = workers.New(restingInvocations)
	defer r.invocations.Close()
	stopCommands, err := r.serveCommands(ctx)
	if err != nil {
		return fmt.Errorf("runner: %w", err)
	}
	defer stopCommands()

	// What is under way outlives ctx by the grace.
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	graceful := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(r.cfg.ShutdownGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			stop(errStopping)
		case <-work.Done():
		}
	})
	defer graceful()

	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.watchGateways(gctx) })
	group.Go(func() error { r.sweep(gctx); return nil })
	group.Go(func() error { r.orphans.run(gctx); return nil })
	group.Go(func() error {
		return r.bus.Consume(gctx, bus.ConsumeOptions{
			Stream: subject.StreamRuns, Consumer: subject.ConsumerRunner, MaxInFlight: r.cfg.MaxConcurrentRuns, Arrived: r.arrived,
		}, func(_ context.Context, d *bus.Delivery) {
			defer r.arrivals.pass(d)
			r.deliver(work, d, r.request)
		})
	})
	group.Go(func() error {
		return r.bus.Consume(gctx, bus.ConsumeOptions{
			Stream: subject.StreamWaits, Consumer: subject.ConsumerRunner, MaxInFlight: r.cfg.MaxConcurrentRuns,
		}, func(_ context.Context, d *bus.Delivery) { r.deliver(work, d, r.resume) })
	})
	close(r.ready)
	r.log.Info("runner is ready", slog.String("definition", r.definitions.current().hash))
	if err := group.Wait(); err != nil {
		return fmt.Errorf("runner: %w", err)
	}
	return nil
}

// Reload makes runs that begin from now on go by a changed compose file; the others end on theirs. Nothing waits for a
// restart.
func (r *Runner) Reload(ctx context.Context, doc *compose.Document) (waiting []string, err error) {
	if err := r.definitions.replace(ctx, doc); err != nil {
		return nil, fmt.Errorf("publish the definition: %w", err)
	}
	if r.servers != nil {
		r.servers.Keep(doc)
	}
	r.log.Info("runs begin by another definition", slog.String("definition", doc.Hash))
	return nil, nil
}

var errStopping = errors.New("the runner is stopping")

// restingInvocations is how many goroutines are kept for invocations to come.
const restingInvocations = 64

// watchGateways keeps the book of addresses.
func (r *Runner) watchGateways(ctx context.Context) error {
	err := r.bus.Bucket(subject.BucketGateways).Watch(ctx, "", func(e *bus.Entry) {
		if e == nil {
			return
		}
		if err := r.book.Update(e.Key, e.Value, e.Deleted); err != nil {
			r.log.Warn("ignored an entry of the bucket gateways", slog.String("key", e.Key), slog.Any("error", err))
		}
	})
	if err != nil {
		return fmt.Errorf("watch the gateways: %w", err)
	}
	return nil
}

// deliver processes one message and acknowledges it last.
func (r *Runner) deliver(ctx context.Context, d *bus.Delivery, process func(context.Context, *bus.Delivery) error) {
	ctx, span := r.beginSpan(ctx, d)
	err := guard(func() error { return process(ctx, d) })
	defer endSpan(span, err)
	switch {
	case err == nil:
		r.answered(d, d.Ack())
	case ctx.Err() != nil:
		r.answered(d, d.Nak(0))
	case isPoison(err) && d.Deliveries >= r.cfg.MaxDeliveries:
		r.giveUp(ctx, d, err)
	default:
		if isNewer(err) {
			r.metrics.newer.Inc()
		}
		r.log.Warn("will try again", slog.String("subject", d.Subject), slog.Int("deliveries", d.Deliveries), slog.Any("error", err),
			telemetry.TraceID(d.Header[subject.HeaderTrace]))
		r.answered(d, d.Nak(backoff(d.Deliveries)))
	}
}

// answered logs an acknowledgement that could not be sent: the message will come again, which changes nothing.
func (r *Runner) answered(d *bus.Delivery, err error) {
	if err != nil {
		r.log.Info("could not acknowledge", slog.String("subject", d.Subject), slog.Any("error", err))
	}
}

// backoff is the pause before a message is delivered again.
func backoff(deliveries int) time.Duration {
	return min(30*time.Second, 100*time.Millisecond<<min(deliveries, 10))
}

// messenger is the bus as components of type nats see it.
type messenger struct{ bus *bus.Bus }

func (m messenger) Notify(subject string, header map[string]string, data []byte) error {
	return m.bus.Notify(subject, header, data)
}

func (m messenger) Request(ctx context.Context, subject string, header map[string]string, data []byte) ([]byte, error) {
	return m.bus.Request(ctx, subject, header, data)
}
