// Package cloudflare holds Cloudflare tunnels by a cloudflared process that it supervises: a tunnel.Driver.
package cloudflare

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/switchbackhq/switchback/services/gateway/docker"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// Settings say which tunnel: a quick one, or a named one by Token, or by Tunnel and CredentialsFile.
type Settings struct {
	Binary          string // path of cloudflared; empty: it is looked for in PATH
	Token           string
	Tunnel          string
	CredentialsFile string
	Hostname        string   // that leads to a named tunnel
	StateDir        string   // where processes are noted; empty: the folder for temporary files
	Env             []string // added to the process's environment, which is else nearly empty
	Args            []string // added to the command line of cloudflared
	// Engine, when not nil, runs cloudflared in a container.
	Engine *docker.Engine
	Log    *slog.Logger

	// Bounds; zero means the default. Patience is for a process that is starting or has lost its connections.
	Patience time.Duration // 90 s
	Poll     time.Duration // between two looks at whether it is ready; 500 ms
	NameTime time.Duration // for the name of a tunnel that is open to be told; 10 s
}

const (
	defaultPatience = 90 * time.Second
	defaultPoll     = 500 * time.Millisecond
	defaultNameTime = 10 * time.Second
	stopTime        = 7 * time.Second // more than cloudflared's own grace period
)

// Driver runs one cloudflared for each tunnel.
type Driver struct {
	s      Settings
	client *http.Client
}

// New makes a Driver.
func New(s Settings) *Driver {
	if s.Patience <= 0 {
		s.Patience = defaultPatience
	}
	if s.Poll <= 0 {
		s.Poll = defaultPoll
	}
	if s.NameTime <= 0 {
		s.NameTime = defaultNameTime
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.StateDir == "" {
		s.StateDir = filepath.Join(os.TempDir(), fmt.Sprintf("switchback-gateway-%d", os.Getuid()))
	}
	return &Driver{s: s, client: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// Run holds one tunnel until ctx ends or its process does.
func (d *Driver) Run(ctx context.Context, spec tunnel.Spec, report func(tunnel.Observation)) (err error) {
	launch := d.child
	if d.s.Engine != nil {
		launch = d.container
	}
	listen, upstream, name := "127.0.0.1", spec.Target, "127.0.0.1"
	if d.s.Engine != nil {
		name = d.s.Engine.LocalName()
		if listen, err = d.s.Engine.Gateway(ctx); err != nil {
			return classify(err)
		}
	}
	if d.s.Token == "" { // what a token's tunnel leads to is set at Cloudflare, so that it cannot pass here
		l, err := net.Listen("tcp", net.JoinHostPort(listen, "0")) //nolint:noctx // it is closed by Serve
		if err != nil {
			return fmt.Errorf("listen for cloudflared: %w", err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		upstream = net.JoinHostPort(name, port)
		serving, stop := context.WithCancel(context.WithoutCancel(ctx))
		served := make(chan error, 1)
		go func() { served <- spec.Serve(serving, l) }()
		defer func() { // after the process: what is in flight goes on while it ends
			stop()
			<-served
		}()
	}
	p, cleanup, err := launch(ctx, spec, "http://"+upstream)
	if err != nil {
		return err
	}
	defer cleanup()
	defer p.stop(stopTime)
	return d.watch(ctx, p, report)
}

// child starts cloudflared as a child of this process.
func (d *Driver) child(_ context.Context, spec tunnel.Spec, upstream string) (p *process, cleanup func(), err error) {
	binary, err := find(d.s.Binary)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(d.s.StateDir, 0o700); err != nil {
		return nil, nil, &tunnel.Error{Class: tunnel.Config, Err: err, Message: "cannot make the folder for cloudflared: " + err.Error(), Hint: "set state_dir"}
	}
	home, err := os.MkdirTemp(d.s.StateDir, "cloudflared-")
	if err != nil {
		return nil, nil, &tunnel.Error{Class: tunnel.Config, Err: err, Message: "cannot make a folder for cloudflared: " + err.Error(), Hint: "set state_dir"}
	}
	cleanup = func() { _ = os.RemoveAll(home) }
	config := os.DevNull // else a config.yml of the account would lead the tunnel elsewhere
	if d.s.Tunnel != "" {
		config = filepath.Join(home, "config.yml")
		if err := os.WriteFile(config, d.config(d.s.CredentialsFile, upstream), 0o600); err != nil {
			cleanup()
			return nil, nil, fmt.Errorf("write cloudflared's configuration: %w", err)
		}
	}
	env := append([]string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}, d.env()...)
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	mark := markOf(home, spec.Port)
	reap(d.s.StateDir, d.s.Log)
	p, err = start(binary, d.arguments(config, "127.0.0.1:0", upstream), env, mark)
	if err != nil {
		cleanup()
		return nil, nil, &tunnel.Error{Class: tunnel.Config, Err: err, Message: "cannot start " + binary + ": " + err.Error(), Hint: installHint()}
	}
	return p, cleanup, nil
}

// arguments give the command line. Secrets are not in it.
func (d *Driver) arguments(config, metrics, upstream string) []string {
	args := append([]string{
		"tunnel", "--no-autoupdate", "--config", config, "--metrics", metrics, "--output", "json", "--loglevel", "info", "--grace-period", "5s",
	}, d.s.Args...)
	if d.s.Token != "" || d.s.Tunnel != "" {
		return append(args, "run")
	}
	return append(args, "--url", upstream)
}

func (d *Driver) env() []string {
	env := append(slices.Clone(d.s.Env), "TUNNEL_NO_PRECHECKS=true") // those that know no prechecks know no such variable
	if d.s.Token != "" {
		env = append(env, "TUNNEL_TOKEN="+d.s.Token)
	}
	return env
}

// config is cloudflared's configuration for a tunnel with credentials.
func (d *Driver) config(credentials, upstream string) []byte {
	return fmt.Appendf(nil, "tunnel: %q\ncredentials-file: %q\ningress:\n  - service: %q\n", d.s.Tunnel, credentials, upstream)
}

func (d *Driver) ready(ctx context.Context, metrics string) bool {
	status, _, err := d.ask(ctx, metrics, "/ready")
	return err == nil && status == http.StatusOK
}

// hostname is the public name: as configured, as the quick tunnel says, or as Cloudflare has configured the token's.
func (d *Driver) hostname(ctx context.Context, metrics string) (string, error) {
	if d.s.Hostname != "" {
		return d.s.Hostname, nil
	}
	path, parse := "/quicktunnel", parseQuick
	if d.s.Token != "" {
		path, parse = "/config", parseIngress
	}
	_, body, err := d.ask(ctx, metrics, path)
	if err != nil {
		return "", nil //nolint:nilerr // asked again
	}
	host := parse(body)
	if host == "" && d.s.Tunnel != "" {
		return "", &tunnel.Error{
			Class: tunnel.Config, Message: "a named tunnel needs hostname: cloudflared does not tell it",
			Hint: "write hostname: hooks.example.com, the name whose DNS record leads to the tunnel",
		}
	}
	return host, nil
}

// maxAnswer bounds an answer of the process.
const maxAnswer = 1 << 20

func (d *Driver) ask(ctx context.Context, metrics, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+metrics+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}
