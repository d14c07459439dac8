package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/gateway/docker"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

const runtimeDocker = "docker"

// containers are the gateways that do not run in this process. The engine is opened when the first one needs it.
type containers struct {
	deps   Deps
	engine func() (*docker.Engine, error)
	close  func()
}

func newContainers(d Deps) containers {
	var mu sync.Mutex
	var engine *docker.Engine
	log := d.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return containers{
		deps: d,
		engine: func() (*docker.Engine, error) {
			mu.Lock()
			defer mu.Unlock()
			if engine != nil {
				return engine, nil
			}
			owner := d.Owner
			if owner == "" {
				dir, err := os.Getwd()
				if err != nil {
					return nil, fmt.Errorf("find the working directory: %w", err)
				}
				owner = dir + " " + d.NATS
			}
			e, err := docker.Open(d.Docker, owner, log)
			if err != nil {
				return nil, err
			}
			engine = e
			return e, nil
		},
		close: func() {
			mu.Lock()
			defer mu.Unlock()
			if engine != nil {
				engine.Close()
			}
		},
	}
}

// Names of the containers begin with what is in them.
const (
	insideGateway     = "gateway-"
	insideCloudflared = "cloudflared-"
)

// sweep removes what an earlier process has left and nobody wants any more. An engine that does not answer is told of by
// who needs it.
func (c *containers) sweep(ctx context.Context, groups []*group, log *slog.Logger) {
	var keep []string
	for _, g := range groups {
		if g.inside != nil {
			keep = append(keep, g.inside.Name)
		}
	}
	used := len(keep) > 0
	for _, g := range c.deps.Document.Gateways {
		used = used || g.Runtime == runtimeDocker
	}
	if !used {
		return
	}
	e, err := c.engine()
	if err == nil {
		err = e.Sweep(ctx, insideGateway, keep)
	}
	if err == nil {
		err = e.Sweep(ctx, insideCloudflared, nil) // none is adopted: each leads to a process's own port
	}
	if err != nil {
		log.Debug("containers that were left over are not looked for", slog.Any("error", err))
	}
}

// contain plans a gateway that runs in a container: this service, with this gateway alone.
func (p *planner) contain(g *compose.Gateway) error {
	here := *g
	here.Runtime = "native"
	native := &planner{doc: p.doc, getenv: p.getenv, config: p.config}
	if err := native.add(&here); err != nil { // what is wrong is known before a container is made
		return err
	}
	if g.Driver == compose.SSH && g.Connection.AuthType == "agent" {
		return &tunnel.Error{Class: tunnel.Config, Message: "a container does not reach the SSH agent", Hint: "use auth type keyfile, or leave runtime: docker out"}
	}
	if p.inside.deps.NATS == "" {
		return &tunnel.Error{Class: tunnel.Config, Message: "runtime: docker needs a NATS server that the container reaches", Hint: "leave runtime: docker out"}
	}
	e, err := p.inside.engine()
	if err != nil {
		return err
	}
	r := &reading{getenv: p.getenv}
	s := &docker.Service{
		Kind: "gateway", ID: g.ID, Image: e.Settings.GatewayImage, Document: p.doc, NATS: p.inside.deps.NATS, Set: []string{"runtime=native"},
		Reaches: map[string]string{}, Getenv: p.getenv, Environ: os.Environ(),
	}
	if g.Driver == compose.SSH {
		c := g.Connection
		s.Files = given(r.file("connection.auth.keyfile", c.Keyfile), r.file("connection.known_hosts", c.KnownHosts))
		if home, err := os.UserHomeDir(); err == nil && c.KnownHosts == nil {
			if file := filepath.Join(home, ".ssh", "known_hosts"); readable(file) {
				s.Files = append(s.Files, file)
			}
		}
	} else {
		s.Files = given(r.file("connect_ca", g.ConnectCA))
		s.Variables = []string{"NGROK_AUTHTOKEN"}
	}
	if !e.OnHost() && (g.Target == "localhost" || strings.HasPrefix(g.Target, "127.")) {
		s.Set = append(s.Set, "target="+e.LocalName())
	}
	group := &group{lease: g.ID}
	for _, planned := range native.groups {
		for _, one := range planned.plans {
			group.plans = append(group.plans, one)
			s.Reaches[one.target] = "what the gateway " + g.ID + " leads to"
		}
	}
	if group.inside, err = e.Spec(s); err != nil {
		return err
	}
	group.key = keyOf(fmt.Sprintf("docker %+v", *group.inside))
	p.groups = append(p.groups, group)
	return nil
}

func given(files ...string) (out []string) {
	for _, f := range files {
		if f != "" {
			out = append(out, f)
		}
	}
	return out
}

func readable(file string) bool {
	f, err := os.Open(file) //nolint:gosec // of the user's own
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// stopGrace is for a gateway in a container to hand its tunnels over.
const stopGrace = 15 * time.Second

// urlLine is what a gateway says of a URL that is new.
const urlLine = "[Gateway] Public URL: "

// contain has a container hold the group's tunnels until ctx ends. It publishes by itself; what is wrong with the
// container is published here.
func (r *runningGroup) contain(ctx context.Context, log *slog.Logger) {
	b := r.g.board
	plans := r.plans()
	broken := false
	e, err := r.g.inside.engine()
	if err != nil {
		return // it was opened when the group was planned
	}
	k := &docker.Keeper{
		Engine: e, Spec: r.group.inside, Grace: stopGrace, Log: log,
		Line: func(line string) {
			if url, ok := strings.CutPrefix(line, urlLine); ok {
				b.say(event.GatewayStatus{ID: plans[0].id, Driver: plans[0].driver, PublicURL: url, Status: event.GatewayUp})
			}
		},
		Runs: func(bool) {
			broken = false
			for _, p := range plans {
				b.standby(p)
			}
		},
		Broken: func(err error, in time.Duration) {
			broken = true
			now := time.Now()
			for _, p := range plans {
				b.set(p, tunnel.Status{
					State: tunnel.Starting, Since: now, Class: tunnel.Config, Error: err.Error(), Hint: fault.HintOf(err), NextRetry: now.Add(in),
				}, slog.New(slog.DiscardHandler)) // the keeper has said it
			}
		},
	}
	if err := k.Run(ctx); err != nil {
		log.Warn("a container was not stopped in order", slog.Any("error", err))
	}
	for _, p := range plans {
		if broken {
			b.left(ctx, p)
		} else {
			b.forget(p)
		}
	}
}
