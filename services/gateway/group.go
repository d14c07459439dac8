package gateway

import (
	"context"
	"log/slog"
	"sync"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/gateway/lease"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// runningGroup is a group that this process holds, or waits for.
type runningGroup struct {
	g      *Gateway
	cancel context.CancelFunc
	done   chan struct{}
	driver tunnel.Driver // nil: a container holds the tunnels
	key    string        // of the group
	lease  string
	shared bool // several processes may hold it

	mu      sync.Mutex
	group   *group
	changed chan struct{}
}

func (g *Gateway) startGroup(ctx context.Context, w *group) *runningGroup {
	ctx, cancel := context.WithCancel(ctx)
	log := g.log.With(slog.Any("gateways", w.ids()))
	r := &runningGroup{
		g: g, cancel: cancel, done: make(chan struct{}), key: w.key, lease: w.lease, shared: w.all,
		group: w, changed: make(chan struct{}, 1),
	}
	run := r.run
	if w.inside != nil {
		run = r.contain
	} else {
		r.driver = w.driver(log)
	}
	go func() {
		defer close(r.done)
		run(ctx, log)
	}()
	return r
}

// change takes over tunnels that were added or removed.
func (r *runningGroup) change(w *group) {
	r.mu.Lock()
	r.group = w
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *runningGroup) plans() []plan {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.group.plans
}

func (r *runningGroup) run(ctx context.Context, log *slog.Logger) {
	if r.g.deps.Bus == nil || r.shared {
		r.hold(ctx)
		return
	}
	lease.Run(ctx, lease.Options{
		Bucket: r.g.deps.Bus.Bucket(subject.BucketLeases), Key: "tunnel." + r.lease, Holder: r.g.holder, TTL: r.g.config.LeaseTTL, Log: log,
	}, func(holder string) {
		log.Info("another process holds the tunnel; standing by", slog.String("holder", holder))
		for _, p := range r.plans() {
			r.g.board.standby(p)
		}
	}, r.hold)
}

// hold keeps the group's tunnels until ctx ends.
func (r *runningGroup) hold(ctx context.Context) {
	type kept struct {
		plan   plan
		cancel context.CancelFunc
		done   chan struct{}
	}
	keeping := map[string]*kept{}
	stop := func(which map[string]*kept) {
		for _, k := range which {
			k.cancel()
		}
		for _, k := range which {
			<-k.done
			r.g.board.left(ctx, k.plan)
		}
	}
	defer func() { stop(keeping) }()
	for {
		wanted := map[string]plan{}
		for _, p := range r.plans() {
			wanted[p.fingerprint(r.key)] = p
		}
		gone := map[string]*kept{}
		for key, k := range keeping {
			if _, ok := wanted[key]; !ok {
				gone[key] = k
				delete(keeping, key)
			}
		}
		stop(gone)
		for key, p := range wanted {
			if keeping[key] != nil {
				continue
			}
			own, cancel := context.WithCancel(ctx)
			k := &kept{plan: p, cancel: cancel, done: make(chan struct{})}
			keeping[key] = k
			go func() {
				defer close(k.done)
				r.keep(own, p)
			}()
		}
		select {
		case <-ctx.Done():
			return
		case <-r.changed:
		}
	}
}

// keep keeps one tunnel.
func (r *runningGroup) keep(ctx context.Context, p plan) {
	g := r.g
	log := g.log.With(slog.String("gateway", p.id), slog.Int("port", p.port), slog.String("driver", p.driver))
	secret := tunnel.NewSecret()
	prober := tunnel.NewProber(secret, p.hint, nil)
	transport := tunnel.NewTargetTransport()
	defer transport.CloseIdleConnections()
	served := g.board.metrics.served(p)
	proxy := tunnel.NewProxy(tunnel.ProxyConfig{
		Target: p.target, Scheme: p.scheme, Dial: transport, Secret: secret, Trust: p.trust, Proto: p.proto, Log: log, Served: served,
	})
	k := &tunnel.Keeper{
		Spec:   tunnel.Spec{Gateway: p.id, Port: p.port, Remote: p.remote, Name: p.name, Target: p.target, Serve: proxy.Serve},
		Driver: r.driver, Policy: p.policy, Probe: g.board.metrics.probed(p, prober.Probe), Target: dialTarget(p.target), Log: log, Every: g.config.ProbeInterval,
		Changed: func(s tunnel.Status) { g.board.set(p, s, log) },
	}
	if !p.through {
		k.Probe = g.board.metrics.probed(p, prober.Answers)
	}
	k.Run(ctx, g.board.remembered(ctx, p))
}

// status is what is published of a tunnel.
func status(p plan, s tunnel.Status) event.GatewayStatus {
	return event.GatewayStatus{
		ID: p.id, Port: p.port, Driver: p.driver, PublicURL: s.URL, PublicAddress: s.Address, Status: string(s.State), Since: s.Since.UTC(),
		Error: s.Error, Generation: s.Generation, Attempts: s.Attempts, NextRetry: s.NextRetry.UTC(),
	}
}
