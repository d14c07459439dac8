package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/telemetry"
	"github.com/switchbackhq/switchback/services/gateway"
)

type tunnelCommand struct {
	Port       int        `arg:"" help:"The local port."`
	Driver     string     `enum:"auto,ngrok,cloudflare,ssh" default:"auto" placeholder:"DRIVER" help:"ngrok, cloudflare or ssh; by what is given."`
	Target     string     `default:"localhost" placeholder:"HOST" help:"Host that the port is on (${default})."`
	Domain     string     `placeholder:"NAME" help:"ngrok: the domain to serve."`
	SSH        string     `name:"ssh" placeholder:"USER@HOST[:PORT]" help:"ssh: the server and the account."`
	Key        string     `placeholder:"FILE" help:"ssh: the private key (default: the agent's keys)."`
	KnownHosts string     `placeholder:"FILE" help:"ssh: the file of known host keys (default: ~/.ssh/known_hosts)."`
	RemotePort int        `placeholder:"PORT" help:"ssh: the server's port; 0, the default, lets the server pick."`
	Session    bool       `help:"ssh: the server announces the URL, as localhost.run does."`
	LogLevel   slog.Level `default:"warn" placeholder:"LEVEL" help:"debug, info, warn or error."`
}

const highestPort = 65535

// Run opens a tunnel until it is told to stop.
func (t *tunnelCommand) Run(ctx context.Context, s *streams) error {
	source, err := t.file()
	if err != nil {
		return err
	}
	doc, err := compose.Parse(source, os.LookupEnv)
	if err != nil {
		return fmt.Errorf("the tunnel: %w", err)
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	g, err := gateway.New(gateway.Config{}, gateway.Deps{
		Document: doc, Getenv: os.LookupEnv, Logger: telemetry.NewLogger(s.err, t.LogLevel, telemetry.Pretty), Out: s.out,
		Failed: func(s event.GatewayStatus, hint string) { fail(fault.New(fault.Unavailable, s.Error, hint)) },
	})
	if err != nil {
		return err
	}
	if err := g.Run(ctx); err != nil {
		return err
	}
	if failed, ok := errors.AsType[*fault.Error](context.Cause(ctx)); ok {
		return failed
	}
	return nil
}

// file is the compose file that says the same as the command line.
func (t *tunnelCommand) file() ([]byte, error) {
	if t.Port < 1 || t.Port > highestPort {
		return nil, fault.New(fault.Usage, strconv.Itoa(t.Port)+" is no port", "ports are from 1 to 65535: switchback tunnel 8090")
	}
	if t.RemotePort < 0 || t.RemotePort > highestPort {
		return nil, fault.New(fault.Usage, "--remote-port "+strconv.Itoa(t.RemotePort)+" is no port", "ports are from 1 to 65535; 0 lets the server pick")
	}
	driver := t.Driver
	if driver == "auto" {
		switch {
		case t.SSH != "":
			driver = "ssh"
		case os.Getenv("NGROK_AUTHTOKEN") != "":
			driver = "ngrok"
		default:
			driver = "cloudflare"
		}
	}
	entry := map[string]any{"target": t.Target, "port": t.Port}
	switch driver {
	case "ssh":
		connection, err := t.connection()
		if err != nil {
			return nil, err
		}
		entry["type"], entry["connection"], entry["port"] = compose.SSHTunnel, connection, fmt.Sprintf("%d:%d", t.RemotePort, t.Port)
		if t.Session {
			entry["url_from"] = "session"
			if t.RemotePort == 0 {
				entry["port"] = fmt.Sprintf("80:%d", t.Port)
			}
		}
	default:
		entry["type"], entry["driver"] = compose.HTTPTunnel, driver
		if t.Domain != "" {
			entry["domain"] = t.Domain
		}
	}
	source, err := json.Marshal(map[string]any{"gateway": entry})
	if err != nil {
		return nil, fmt.Errorf("write the tunnel as a compose file: %w", err)
	}
	return source, nil
}

func (t *tunnelCommand) connection() (map[string]any, error) {
	user, host, ok := strings.Cut(t.SSH, "@")
	if !ok || user == "" || host == "" {
		return nil, fault.New(fault.Usage, "--ssh "+quote(t.SSH)+" is not USER@HOST or USER@HOST:PORT", "write --ssh me@example.com")
	}
	connection := map[string]any{}
	if name, port, err := net.SplitHostPort(host); err == nil { // else there is no port
		number, err := strconv.Atoi(port)
		if err != nil {
			return nil, fault.New(fault.Usage, "--ssh "+quote(t.SSH)+": "+quote(port)+" is no port", "write --ssh me@example.com:2222")
		}
		host, connection["port"] = name, number
	}
	connection["host"] = strings.Trim(host, "[]")
	auth := map[string]any{"type": "agent", "username": user}
	if t.Key != "" {
		auth["type"], auth["keyfile"] = "keyfile", t.Key
	}
	connection["auth"] = auth
	if t.KnownHosts != "" {
		connection["known_hosts"] = t.KnownHosts
	}
	return connection, nil
}
