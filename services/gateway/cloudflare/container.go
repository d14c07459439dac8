package cloudflare

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/gateway/docker"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// Of a cloudflared in a container.
const (
	insideConfig      = "/run/cloudflared/config.yml"
	insideCredentials = "/run/cloudflared/credentials.json" //nolint:gosec // a path
	insideMetrics     = 20241
)

// container starts cloudflared in a container.
func (d *Driver) container(ctx context.Context, spec tunnel.Spec, upstream string) (p *process, cleanup func(), err error) {
	e := d.s.Engine
	config, metrics := os.DevNull, "127.0.0.1:0"
	s := &docker.Spec{
		Name: fmt.Sprintf("cloudflared-%d", spec.Port), Image: e.Settings.CloudflaredImage, Env: append(d.env(), "HOME=/tmp"), Files: map[string][]byte{},
	}
	if d.s.Tunnel != "" {
		config = insideConfig
		s.Files[insideConfig] = d.config(insideCredentials, upstream)
		if s.Files[insideCredentials], err = os.ReadFile(d.s.CredentialsFile); err != nil {
			return nil, nil, &tunnel.Error{Class: tunnel.Config, Err: err, Message: "credentials_file cannot be read: " + err.Error()}
		}
	}
	if !e.OnHost() {
		metrics = fmt.Sprintf("0.0.0.0:%d", insideMetrics)
		s.Ports = []docker.Port{{Inside: insideMetrics, IP: "127.0.0.1"}}
	}
	s.Args = d.arguments(config, metrics, upstream)
	p = newProcess()
	from, to := io.Pipe()
	s.Stderr = to
	c, err := e.Start(ctx, s)
	if err != nil {
		return nil, nil, classify(err)
	}
	go func() {
		defer close(p.ended)
		p.log.read(from)
	}()
	go func() {
		<-c.Ended()
		_ = to.Close() // never fails
	}()
	p.exitCode = func() int {
		code, _ := c.Result()
		return code
	}
	p.stop = func(grace time.Duration) {
		if err := c.Stop(context.WithoutCancel(ctx), grace); err != nil {
			d.s.Log.Warn("a container was not stopped in order", slog.Any("error", err))
		}
		<-p.ended
	}
	if !e.OnHost() {
		if p.metrics, err = c.Published(ctx, insideMetrics); fault.CodeOf(err) == fault.NotFound {
			err = nil // it has ended already, and says why
		}
		if err != nil {
			p.stop(0)
			return nil, nil, classify(err)
		}
	}
	return p, func() {}, nil
}

// classify makes a tunnel's error of an engine's.
func classify(err error) error {
	e := &tunnel.Error{Class: tunnel.Network, Message: err.Error(), Hint: fault.HintOf(err), Err: err}
	if slices.Contains([]fault.Code{fault.NotFound, fault.Invalid, fault.Usage, fault.Forbidden, fault.Conflict}, fault.CodeOf(err)) {
		e.Class = tunnel.Config
	}
	return e
}
