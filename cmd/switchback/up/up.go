// Package up runs a whole system in one process: NATS, listener, gateway and runner.
package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/switchbackhq/switchback/cmd/switchback/embed"
	"github.com/switchbackhq/switchback/pkg/boot"
	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/pkg/telemetry"
	"github.com/switchbackhq/switchback/services/gateway"
	"github.com/switchbackhq/switchback/services/gateway/docker"
	"github.com/switchbackhq/switchback/services/listener"
	"github.com/switchbackhq/switchback/services/runner"
)

// Bounds of starting and stopping what is not a service.
const (
	connectTimeout   = 10 * time.Second
	provisionTimeout = 30 * time.Second
	closeTimeout     = 5 * time.Second
)

// Settings are those of the services, as their own binaries take them.
type Settings struct {
	Listener listener.Config `koanf:"listener"`
	Gateway  gateway.Config  `koanf:"gateway"`
	Runner   runner.Config   `koanf:"runner"`
	Streams  boot.Streams    `koanf:"streams"`
	NATS     boot.NATS       `koanf:"nats"` // of a server outside
	// DrainDelay is how long /readyz says no before anything stops.
	DrainDelay time.Duration   `koanf:"drain_delay"`
	Docker     docker.Settings `koanf:"docker"`
}

// Options say what to run and where.
type Options struct {
	Compose compose.Options
	// NATS, when not empty, is a server outside, and Embedded is not used.
	NATS     string
	Embedded embed.Options
	Admin    telemetry.AdminConfig
	Settings Settings
	Out      io.Writer // lines for people: what is ready, and where
	Log      *slog.Logger
	// Before are services that start before all others and stop after them.
	Before []supervise.Service
	// Work, when not nil, is done once everything is ready; all stops when it returns.
	Work func(ctx context.Context, b *bus.Bus) error

	outside string        // where other processes find NATS
	server  *embed.Server // nil: it is outside
}

// Run starts everything and runs until ctx ends, a service fails, or the work is done. What was started has stopped
// when it returns: the services in the opposite order, NATS last.
func Run(ctx context.Context, o Options) (err error) {
	doc, err := load(o.Compose)
	if err != nil {
		return err
	}
	o.Settings.Runner.KeepRuns = o.Settings.Streams.KeepRuns
	streams := o.Settings.Streams
	connection := bus.Options{
		Name: "switchback up", Logger: o.Log, KeepCallbacks: streams.KeepCallbacks, MaxInline: int(streams.MaxInline), MaxObject: int(streams.MaxObject),
	}
	out := &announcer{w: o.Out}
	if err := contained(ctx, o, doc); err != nil {
		return err
	}
	if len(doc.Gateways) > 0 { // what is wrong with them ends it before anything starts
		if _, err := gateway.New(o.Settings.Gateway, o.gateway(doc, "nats://127.0.0.1")); err != nil {
			return fmt.Errorf("prepare the gateway: %w", err)
		}
	}
	if o.NATS == "" {
		server, err := embed.Start(ctx, o.Embedded)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		connection.InProcess = server
		out.say("NATS", "Ready on %s, data in %s", server.URL(), o.Embedded.Dir)
		o.outside, o.server = server.URL(), server
		return serve(ctx, o, doc, connection, out)
	}
	connection.URL, connection.Login = o.NATS, o.Settings.NATS.Login()
	o.outside = o.NATS
	return serve(ctx, o, doc, connection, out)
}

// gateway is what a gateway works with, so far as nothing has to run for it.
func (o *Options) gateway(doc *compose.Document, nats string) gateway.Deps {
	return gateway.Deps{
		Document: doc, Logger: o.Log.With(slog.String("service", "gateway")), Getenv: os.LookupEnv, Docker: o.Settings.Docker, NATS: nats, Owner: o.owner(),
	}
}

// load reads the compose file and refuses it when this machine lacks what it needs.
func load(o compose.Options) (*compose.Document, error) {
	doc, err := compose.Load(o)
	if err != nil {
		return nil, fmt.Errorf("load the compose file: %w", err)
	}
	if len(doc.Needs) > 0 {
		return nil, &compose.Invalid{Problems: doc.Needs}
	}
	return doc, nil
}

func serve(ctx context.Context, o Options, doc *compose.Document, connection bus.Options, out *announcer) (err error) {
	b, err := connect(ctx, connection, o.Settings.Streams)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, b.Close(closing))
	}()

	registry := telemetry.NewRegistry("up")
	registry.MustRegister(boot.BusMetrics(b))
	tracing, err := telemetry.StartTracing(ctx, "switchback", o.Log, registry)
	if err != nil {
		return err
	}
	defer func() {
		flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, tracing.Stop(flushing))
	}()
	admin := telemetry.NewAdmin(o.Admin, registry, o.Log)
	admin.AddCheck("nats", b.Ready)
	services := []supervise.Service{admin}
	if o.server != nil {
		admin.AddCheck("storage", o.server.Healthy)
		services = append(services, o.server)
	}
	services = append(services, o.Before...)
	var all everything
	here, inside := parted(doc)
	if len(here) > 0 {
		if len(inside) > 0 && len(o.Settings.Listener.Listeners) == 0 {
			o.Settings.Listener.Listeners = here
		}
		l, err := listener.New(o.Settings.Listener, listener.Deps{
			Bus: b, Document: doc, Logger: o.Log.With(slog.String("service", "listener")), Registry: registry, Getenv: os.LookupEnv,
			Tracer: tracing.Tracer(listener.Scope),
		})
		if err != nil {
			return fmt.Errorf("prepare the listener: %w", err)
		}
		all.listener = l
		services = append(services, l, out.service("Listener", func() []string { return listenerLines(doc, l.Addresses()) }))
	}
	if len(inside) > 0 {
		more, closing, err := containers(ctx, o, doc, inside, out)
		if err != nil {
			return err
		}
		defer closing()
		services = append(services, more...)
	}
	if len(doc.Gateways) > 0 {
		deps := o.gateway(doc, o.outside)
		deps.Bus, deps.Registry = b, registry
		deps.Announce = func(s event.GatewayStatus) { out.say("Gateway", "Public URL: %s", s.PublicURL) }
		g, err := gateway.New(o.Settings.Gateway, deps)
		if err != nil {
			return fmt.Errorf("prepare the gateway: %w", err)
		}
		all.gateway = g
		services = append(services, g)
	}
	if len(doc.Workflows) > 0 {
		r := runner.New(o.Settings.Runner, runner.Deps{
			Bus: b, Document: doc, Getenv: os.LookupEnv, Logger: o.Log.With(slog.String("service", "runner")), Registry: registry,
			Tracer: tracing.Tracer(runner.Scope),
		})
		all.runner = r
		services = append(services, r, out.service("Runner", func() []string { return runnerLines(doc) }))
	}
	services = append(services, newWatch(o.Compose, doc, all.reload, out, o.Log))
	if o.Work != nil {
		services = append(services, supervise.Func("work", func(ctx context.Context) error { return o.Work(ctx, b) }))
	}
	services = append(services, telemetry.NewDrain(admin, o.Settings.DrainDelay))
	return supervise.Run(ctx, o.Log, services...)
}

// connect connects and makes the streams.
func connect(ctx context.Context, connection bus.Options, streams boot.Streams) (*bus.Bus, error) {
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	b, err := bus.Connect(connecting, connection)
	if err != nil {
		return nil, err
	}
	provisioning, cancel := context.WithTimeout(ctx, provisionTimeout)
	defer cancel()
	if err := streams.Prepare(provisioning, b, everyStream(streams)...); err != nil {
		return nil, errors.Join(err, b.Close(context.WithoutCancel(provisioning)))
	}
	return b, nil
}

// everyStream names all streams: here run all services.
func everyStream(s boot.Streams) []string {
	var names []string
	for _, it := range s.Layout().Items() {
		names = append(names, it.Stream)
	}
	return names
}
