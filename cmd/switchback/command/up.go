package command

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/switchbackhq/switchback/cmd/switchback/embed"
	"github.com/switchbackhq/switchback/cmd/switchback/up"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/settings"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

// defaultAdmin is where the admin endpoint listens unless asked otherwise.
const defaultAdmin = "127.0.0.1:9464"

type upCommand struct {
	files
	DataDir         string     `default:".switchback" placeholder:"DIR" help:"Folder of the embedded NATS server's data (${default})."`
	NATSPort        *int       `name:"nats-port" placeholder:"PORT" help:"Port of the embedded NATS server on 127.0.0.1 (4222); 0 is any free one."`
	Sync            string     `default:"5s" placeholder:"D" help:"How often the embedded NATS server forces data to disk, or always (${default}). A power cut takes the rest."`
	NATS            string     `name:"nats" placeholder:"URL" help:"Use the NATS server at URL instead of an embedded one (or SWITCHBACK_NATS_URL)."`
	AdminAddr       string     `placeholder:"ADDR" help:"Address of health and metrics (127.0.0.1:9464, or a free port when that is taken)."`
	Settings        string     `placeholder:"FILE" help:"File of settings for the services, in YAML; SWITCHBACK_RUNNER_… and the like are read as well."`
	Setting         []string   `placeholder:"KEY=VALUE" sep:"none" help:"A setting of the services: runner.max_concurrent_runs=32."`
	AllowShell      bool       `help:"Let components of type shell run commands on this machine."`
	AllowHTTPServer bool       `name:"allow-http-server" help:"Let components of type http-server start their servers on this machine."`
	LogLevel        slog.Level `default:"info" placeholder:"LEVEL" help:"debug, info, warn or error."`
	LogFormat       string     `enum:"auto,pretty,text,json" default:"pretty" placeholder:"FORMAT" help:"pretty, text or json."`
}

// defaultNATSPort is where clients look for NATS.
const defaultNATSPort = 4222

// Run runs everything until it is told to stop.
func (u *upCommand) Run(ctx context.Context, s *streams) error {
	log := telemetry.NewLogger(s.err, u.LogLevel, telemetry.Format(u.LogFormat))
	o := up.Options{
		Compose: u.options(), Out: s.out, Log: log, NATS: u.NATS,
		Admin: telemetry.AdminConfig{Addr: defaultAdmin},
	}
	given, err := settings.Pairs(u.Setting)
	if err != nil {
		return fault.Wrap(err, fault.Usage, "--setting", "write it as runner.max_concurrent_runs=32")
	}
	if u.AllowShell {
		given["runner.allow_shell"] = true
	}
	if u.AllowHTTPServer {
		given["runner.allow_http_server"] = true
	}
	if err := settings.Load(&o.Settings, settings.Sources{File: u.Settings, EnvPrefix: "SWITCHBACK_", Flags: given}); err != nil {
		return fault.Wrap(err, fault.Usage, "the settings", "")
	}
	if u.AdminAddr != "" {
		o.Admin = telemetry.AdminConfig{Addr: u.AdminAddr, Asked: true}
	}
	if u.NATS != "" && u.NATSPort != nil {
		return fault.New(fault.Usage, "--nats and --nats-port are both given", "--nats uses a server that runs already, --nats-port is for one of our own: keep one of them")
	}
	// A port that is asked for means a server of our own, also where the variable is set for the other commands.
	if u.NATS == "" && u.NATSPort == nil {
		o.NATS = os.Getenv("SWITCHBACK_NATS_URL")
	}
	if o.NATS == "" {
		embedded, err := u.embedded(log)
		if err != nil {
			return err
		}
		o.Embedded = embedded
	}
	return up.Run(ctx, o)
}

func (u *upCommand) embedded(log *slog.Logger) (embed.Options, error) {
	o := embed.Options{Dir: u.DataDir, Port: defaultNATSPort, Logger: log.With(slog.String("service", "nats"))}
	if u.NATSPort != nil {
		o.Port = *u.NATSPort
	}
	if o.Port < 0 || o.Port > 65535 {
		return o, fault.New(fault.Usage, fmt.Sprintf("--nats-port %d is no port", o.Port), "ports go from 1 to 65535; 0 is any free one")
	}
	if u.Sync != "always" {
		var d duration
		if err := d.UnmarshalText([]byte(u.Sync)); err != nil || d <= 0 {
			return o, fault.New(fault.Usage, "--sync "+quote(u.Sync)+" is neither a duration above zero nor always", "write --sync 5s, or --sync always")
		}
		o.SyncInterval = time.Duration(d)
	}
	return o, nil
}
