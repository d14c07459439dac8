// Package gateway keeps the tunnels of a compose file open and tells their public URLs to whom they concern.
package gateway

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/gateway/docker"
)

// Config is what may be set besides the compose file. A zero value means the default.
type Config struct {
	// Gateways are the ids of those to open; none means all.
	Gateways []string `koanf:"gateways"`
	// LeaseTTL is how long the tunnels of a process that died stay with it; 15 s.
	LeaseTTL time.Duration `koanf:"lease_ttl"`
	// ProbeInterval is how often the public URL of a tunnel that is up is asked; 30 s.
	ProbeInterval time.Duration `koanf:"probe_interval"`
	// Cloudflared is the path of cloudflared; else CLOUDFLARED_BIN, else it is looked for in PATH.
	Cloudflared string `koanf:"cloudflared"`
	// StateDir is where child processes are noted, so that the next start can end those left over; the folder for
	// temporary files.
	StateDir string `koanf:"state_dir"`
	// Target is the host that a target of localhost stands for; in a container, where localhost holds nothing, the proxy's.
	Target string `koanf:"target"`
	// Idle lets it run with a file that has no gateway, until SIGHUP gives it one that has.
	Idle bool `koanf:"idle"`
}

// DefaultLeaseTTL is how long the tunnels of a process that died stay with it, where nothing is set.
const DefaultLeaseTTL = 15 * time.Second

// Deps is what a Gateway works with.
type Deps struct {
	Bus      *bus.Bus // nil: tunnels for this process alone, published nowhere
	Document *compose.Document
	Getenv   func(string) (string, bool) // nil: the process's
	Logger   *slog.Logger                // nil: silent
	Registry prometheus.Registerer       // nil: no metrics
	// Of gateways with runtime: docker: how their containers are, the URL of NATS, and whose they are where there is
	// more than one of us on a machine (default: the working directory's and NATS's).
	Docker docker.Settings
	NATS   string
	Owner  string
	// Announce is told of every URL that is new and proved. It does not block. Nil: nobody is.
	Announce func(s event.GatewayStatus)
	// Load reads the compose file again when the process gets SIGHUP. Nil: the signal is left alone.
	Load func() (*compose.Document, error)
	// Failed is told of every tunnel that needs a person: what is wrong, and what to do. It does not block. Nil: nobody is.
	Failed func(s event.GatewayStatus, hint string)
	// Out gets a line "[Gateway] Public URL: …" for each of these. Nil: nobody does.
	Out io.Writer
}

// Gateway holds the tunnels of a compose file, as far as no other process does.
type Gateway struct {
	config Config
	deps   Deps
	log    *slog.Logger
	holder string
	board  *board
	inside containers
	ready  chan struct{}

	mu      sync.Mutex
	groups  []*group
	changed chan struct{}
}

// New makes a Gateway. What the file asks for and cannot be is an error, all of it at once.
func New(c Config, d Deps) (*Gateway, error) {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Getenv == nil {
		d.Getenv = os.LookupEnv
	}
	if c.LeaseTTL == 0 {
		c.LeaseTTL = DefaultLeaseTTL
	}
	if c.LeaseTTL < leastTTL || c.ProbeInterval < 0 {
		return nil, fault.New(fault.Usage, "the gateway's lease_ttl must be 2s or more, and probe_interval not below zero", "")
	}
	for _, id := range c.Gateways {
		if !slices.ContainsFunc(d.Document.Gateways, func(g *compose.Gateway) bool { return g.ID == id }) {
			return nil, fault.New(fault.Usage, "the file has no gateway "+id, "name one of its gateways, or none for all")
		}
	}
	inside := newContainers(d)
	groups, err := planned(d.Document, d.Getenv, c, inside)
	if err != nil {
		return nil, err
	}
	if len(groups) == 0 {
		if !c.Idle {
			return nil, fault.New(fault.Usage, "the file has no gateway", "add a section gateway, or do not start this service")
		}
		d.Logger.Info("the file has no gateway; SIGHUP reads it again")
	}
	m, err := newMetrics(d.Registry)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname() // only a part of a name
	return &Gateway{
		config: c, deps: d, log: d.Logger, holder: host + "-" + rand.Text()[:8], board: newBoard(d, c.LeaseTTL, m),
		inside: inside, ready: make(chan struct{}), groups: groups, changed: make(chan struct{}, 1),
	}, nil
}

// Name is "gateway".
func (g *Gateway) Name() string { return "gateway" }

// Ready is closed when the tunnels are being opened. It waits for none: one that fails does so alone.
func (g *Gateway) Ready() <-chan struct{} { return g.ready }

// Statuses tells how the tunnels are, by port.
func (g *Gateway) Statuses() []event.GatewayStatus { return g.board.all() }

// Reload takes over a changed compose file. Only the tunnels that differ are opened or closed.
func (g *Gateway) Reload(doc *compose.Document) error {
	groups, err := planned(doc, g.deps.Getenv, g.config, g.inside)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.groups = groups
	g.mu.Unlock()
	select {
	case g.changed <- struct{}{}:
	default: // it is told already
	}
	return nil
}

func (g *Gateway) wanted() []*group {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.groups)
}

// Run holds the tunnels until ctx ends, lets what is in flight finish, and gives them to whoever waits for them.
// A Gateway runs once.
func (g *Gateway) Run(ctx context.Context) error {
	publishing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var publisher sync.WaitGroup
	publisher.Go(func() { g.board.run(publishing) })
	defer publisher.Wait()
	defer stop()

	hangUp := make(chan os.Signal, 1)
	if g.deps.Load != nil {
		signal.Notify(hangUp, syscall.SIGHUP)
		defer signal.Stop(hangUp)
	}
	g.inside.sweep(ctx, g.wanted(), g.log)
	defer g.inside.close()
	running := map[string]*runningGroup{}
	defer func() { stopAll(running) }()
	for {
		g.arrange(ctx, running)
		select {
		case <-g.ready:
		default:
			close(g.ready)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-g.changed:
		case <-hangUp:
			g.loadAgain()
		}
	}
}

// loadAgain takes over the compose file as it is now. One that is wrong changes nothing.
func (g *Gateway) loadAgain() {
	doc, err := g.deps.Load()
	if err == nil {
		err = g.Reload(doc)
	}
	if err != nil {
		g.log.Error("the compose file was not taken over", slog.Any("error", err), slog.String("hint", fault.HintOf(err)))
		return
	}
	g.log.Info("the compose file was read again")
}

// arrange makes what runs what is wanted.
func (g *Gateway) arrange(ctx context.Context, running map[string]*runningGroup) {
	wanted := map[string]*group{}
	for _, w := range g.wanted() {
		wanted[w.key] = w
	}
	gone := map[string]*runningGroup{}
	for key, r := range running {
		if wanted[key] == nil {
			gone[key] = r
			delete(running, key)
		}
	}
	stopAll(gone) // before those that may want the same lease
	for key, w := range wanted {
		if r := running[key]; r != nil {
			r.change(w)
			continue
		}
		running[key] = g.startGroup(ctx, w)
	}
}

func stopAll(groups map[string]*runningGroup) {
	for _, r := range groups {
		r.cancel()
	}
	for _, r := range groups {
		<-r.done
	}
}
