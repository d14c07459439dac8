// Package boot starts a service's binary: flags, settings, compose file, NATS, admin endpoint, supervision.
package boot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/settings"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

// Env is what a service is built from.
type Env struct {
	Bus      *bus.Bus
	Document *compose.Document
	Getenv   func(string) (string, bool)
	Logger   *slog.Logger
	Registry *prometheus.Registry
	Tracing  *telemetry.Tracing // nil: no traces
	// Load reads the compose file again, as it is now.
	Load func() (*compose.Document, error)
}

// flags are the words of every service's command line.
type flags struct {
	File      []string `short:"f" placeholder:"FILE" help:"Compose file; several are merged left to right (default: switchback.yaml here)."`
	Set       []string `placeholder:"PATH=VALUE" sep:"none" help:"A value laid over the compose file."`
	NATS      string   `name:"nats" placeholder:"URL" help:"NATS server with JetStream (default nats://127.0.0.1:4222)."`
	AdminAddr string   `placeholder:"HOST:PORT" help:"Where /healthz, /readyz and /metrics are (default ${admin})."`
	Settings  string   `placeholder:"FILE" help:"File of settings, in YAML."`
	Setting   []string `placeholder:"KEY=VALUE" sep:"none" help:"A setting: log.level=debug."`
	LogLevel  string   `placeholder:"LEVEL" help:"debug, info, warn or error."`
	LogFormat string   `placeholder:"FORMAT" help:"auto, pretty, text or json."`
	Version   bool     `help:"Print the version."`
	Command   string   `arg:"" optional:"" enum:"healthcheck," default:"" help:"healthcheck: ask the service that runs here with these settings whether it is ready."`
}

// Service describes a binary.
type Service struct {
	Name      string // listener, runner, …
	AdminAddr string // default of its admin endpoint
	About     string // one sentence for --help
	// Uses are the sections of the compose file that the service works by, in the singular. What is missing in
	// others does not keep it from starting: a listener needs no keys of outside services. None: it needs no file.
	Uses []string
	// Streams are those that it reads. Where it may not make them, it checks these.
	Streams []string
	// Publishes are subjects that it publishes on: it is ready when a stream takes them.
	Publishes []string
}

// Main runs a service's binary with the process's arguments and gives its exit code. S embeds Settings; defaults holds
// what is not to be told.
func Main[S any, P interface {
	*S
	common() *Settings
}](service Service, defaults S, build func(env Env, s S) (supervise.Service, error),
) int {
	ctx, stop := supervise.Signals(context.Background())
	defer stop()
	err := run[S, P](ctx, service, defaults, build, os.Args[1:], os.Stdout)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "Error: %s\n", err)
	if hint := fault.HintOf(err); hint != "" {
		fmt.Fprintf(os.Stderr, "Try:   %s\n", hint)
	}
	if s, ok := errors.AsType[*supervise.SignalError](err); ok {
		return s.ExitCode()
	}
	return fault.ExitCode(err)
}

func run[S any, P interface {
	*S
	common() *Settings
}](ctx context.Context, service Service, s S, build func(Env, S) (supervise.Service, error), args []string, out io.Writer,
) error {
	var f flags
	parser, err := kong.New(&f, kong.Name("switchback-"+service.Name), kong.Description(service.About), kong.Vars{"admin": service.AdminAddr})
	if err != nil {
		return fmt.Errorf("build the command line: %w", err)
	}
	if _, err := parser.Parse(args); err != nil {
		return fault.New(fault.Usage, err.Error(), "`switchback-"+service.Name+" --help` shows how it is written")
	}
	if f.Version {
		_, err := fmt.Fprintln(out, "switchback-"+service.Name, version())
		return err
	}
	common := P(&s).common()
	common.NATS.URL, common.AdminAddr = DefaultNATS, service.AdminAddr
	common.NATS.InboxPrefix = "_INBOX_" + service.Name
	given, err := f.given()
	if err != nil {
		return err
	}
	if err := settings.Load(&s, settings.Sources{File: f.Settings, EnvPrefix: "SWITCHBACK_", Flags: given}); err != nil {
		return fault.Wrap(err, fault.Usage, "the settings", "")
	}
	if f.Command == healthcheck {
		url, err := telemetry.ReadyURL(common.AdminAddr)
		if err != nil {
			return fault.Wrap(err, fault.Usage, "the settings", "")
		}
		return telemetry.Healthcheck(ctx, url)
	}
	log := telemetry.NewLogger(os.Stderr, common.Log.Level, common.Log.Format).With(slog.String("service", service.Name))
	doc, err := load(f, service.Uses)
	if err != nil {
		return err
	}
	env := Env{Document: doc, Load: func() (*compose.Document, error) { return load(f, service.Uses) }}
	return serve(ctx, service, common, log, env, func(env Env) (supervise.Service, error) { return build(env, s) })
}

// healthcheck is the one word that a service's binary takes: a container without a shell can ask nothing else.
const healthcheck = "healthcheck"

// given are the flags that set settings.
func (f *flags) given() (map[string]any, error) {
	given, err := settings.Pairs(f.Setting)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "--setting", "write it as log.level=debug")
	}
	for key, v := range map[string]string{
		"nats.url": f.NATS, "admin_addr": f.AdminAddr, "log.level": f.LogLevel, "log.format": f.LogFormat,
	} {
		if v != "" {
			given[key] = v
		}
	}
	return given, nil
}

// load reads the compose file, and refuses it when this machine lacks what the service needs of it.
func load(f flags, uses []string) (*compose.Document, error) {
	if len(uses) == 0 && len(f.File) == 0 {
		return &compose.Document{}, nil
	}
	doc, err := compose.Load(compose.Options{Files: f.File, Set: f.Set})
	if err != nil {
		return nil, fmt.Errorf("load the compose file: %w", err)
	}
	var missing []compose.Problem
	for _, p := range doc.Needs {
		if slices.ContainsFunc(uses, func(section string) bool { return strings.HasPrefix(p.Path, section) }) {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return nil, &compose.Invalid{Problems: missing}
	}
	return doc, nil
}

// Bounds of what happens before and after the service.
const (
	connectTimeout = 30 * time.Second
	closeTimeout   = 5 * time.Second
)

func serve(ctx context.Context, service Service, s *Settings, log *slog.Logger, env Env, build func(Env) (supervise.Service, error)) (err error) {
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	b, err := bus.Connect(connecting, bus.Options{
		URL: s.NATS.URL, Name: "switchback-" + service.Name, Login: s.NATS.Login(), Logger: log,
		KeepCallbacks: s.Streams.KeepCallbacks, MaxInline: int(s.Streams.MaxInline), MaxObject: int(s.Streams.MaxObject),
		Probe: service.Publishes,
	})
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, b.Close(closing))
	}()
	if err := s.Streams.Prepare(connecting, b, service.Streams...); err != nil {
		return err
	}
	registry := telemetry.NewRegistry(service.Name)
	registry.MustRegister(BusMetrics(b))
	tracing, err := telemetry.StartTracing(ctx, "switchback-"+service.Name, log, registry)
	if err != nil {
		return err
	}
	defer func() {
		flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, tracing.Stop(flushing))
	}()
	admin := telemetry.NewAdmin(telemetry.AdminConfig{Addr: s.AdminAddr, Asked: s.AdminAddr != service.AdminAddr}, registry, log)
	admin.AddCheck("nats", b.Ready)
	env.Bus, env.Getenv, env.Logger, env.Registry, env.Tracing = b, os.LookupEnv, log, registry, tracing
	svc, err := build(env)
	if err != nil {
		return err
	}
	services := []supervise.Service{admin, svc}
	if r, ok := svc.(Reloader); ok {
		services = append(services, onHangUp(r, env.Document, env.Load, log))
	}
	if r, ok := svc.(supervise.Readier); ok {
		admin.AddCheck(service.Name, func(context.Context) error { return started(r) })
	}
	log.Info("starting", slog.String("version", version()), slog.String("nats", bus.Redacted(s.NATS.URL)))
	return supervise.Run(ctx, log, append(services, telemetry.NewDrain(admin, s.DrainDelay))...)
}

// started tells whether r can be used yet.
func started(r supervise.Readier) error {
	select {
	case <-r.Ready():
		return nil
	default:
		return errors.New("is starting")
	}
}

func version() string { return cmp.Or(telemetry.Built().Version, "(devel)") }
