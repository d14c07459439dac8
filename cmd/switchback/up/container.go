package up

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/services/gateway/docker"
	"github.com/switchbackhq/switchback/services/listener"
)

const runtimeDocker = "docker"

// parted gives the ids of the listeners that run in this process, and those that run in containers.
func parted(doc *compose.Document) (here []string, inside []*compose.Listener) {
	for _, l := range doc.Listeners {
		if l.Runtime == runtimeDocker {
			inside = append(inside, l)
		} else {
			here = append(here, l.ID)
		}
	}
	return here, inside
}

// owner is whose containers ours are: a folder of data is one system's, and so is a server outside, from one place.
func (o *Options) owner() string {
	dir, err := filepath.Abs(o.Embedded.Dir)
	if o.NATS != "" || err != nil {
		dir, _ = os.Getwd() // only a part of a name
	}
	return dir + " " + o.NATS
}

// contained refuses a file that wants containers where there is no engine for them.
func contained(ctx context.Context, o Options, doc *compose.Document) error {
	_, inside := parted(doc)
	if len(inside) == 0 && !slices.ContainsFunc(doc.Gateways, func(g *compose.Gateway) bool { return g.Runtime == runtimeDocker }) {
		return nil
	}
	e, err := docker.Open(o.Settings.Docker, o.owner(), o.Log)
	if err != nil {
		return err
	}
	defer e.Close()
	return e.Check(ctx)
}

// listenerGrace is for a listener in a container to finish what is in flight.
const listenerGrace = 25 * time.Second

const insideListener = "listener-"

// containers makes the services that run listeners in containers. What an earlier process has left is adopted when it
// is as it is wanted.
func containers(ctx context.Context, o Options, doc *compose.Document, inside []*compose.Listener, out *announcer) (services []supervise.Service, closing func(), err error) {
	log := o.Log.With(slog.String("service", "listener"))
	e, err := docker.Open(o.Settings.Docker, o.owner(), log)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			e.Close()
		}
	}()
	var names []string
	for _, l := range inside {
		s, err := e.Spec(listenerInside(e, o, doc, l))
		if err != nil {
			return nil, nil, fmt.Errorf("prepare the listener %s: %w", l.ID, err)
		}
		names = append(names, s.Name)
		services = append(services, newContainer(e, s, log),
			out.service("Listener", func() []string { return listenerLines(doc, []listener.Address{addressOf(l)}) }))
	}
	return services, e.Close, e.Sweep(ctx, insideListener, names)
}

// listenerInside is a listener for a container.
func listenerInside(e *docker.Engine, o Options, doc *compose.Document, l *compose.Listener) *docker.Service {
	s := &docker.Service{
		Kind: "listener", ID: l.ID, Image: e.Settings.ListenerImage, Document: doc, NATS: o.outside, Getenv: os.LookupEnv, Environ: os.Environ(),
	}
	if l.TLS != nil {
		for _, f := range []string{l.TLS.CertFile, l.TLS.KeyFile, l.TLS.ClientCAFile} {
			if f != "" {
				s.Files = append(s.Files, f)
			}
		}
	}
	if !e.OnHost() {
		s.Set = []string{"host=0.0.0.0"} // its own; of this machine the port is published as the file says
		ip := l.Host
		if ip == "localhost" {
			ip = "127.0.0.1"
		}
		s.Ports = []docker.Port{{Inside: l.Port, IP: ip, Here: l.Port}}
	}
	return s
}

// addressOf is where a listener in a container is found.
func addressOf(l *compose.Listener) listener.Address {
	host, scheme := l.Host, "http://"
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	if l.TLS != nil {
		scheme = "https://"
	}
	addr := net.JoinHostPort(host, strconv.Itoa(l.Port))
	return listener.Address{Listener: l.ID, Addr: addr, URL: scheme + addr + l.BasePath}
}

// containerService keeps a listener's container. One that never gets ready ends everything, as a listener in this
// process would.
type containerService struct {
	keeper docker.Keeper
	ready  chan struct{}
	once   sync.Once
	cancel context.CancelFunc
	failed error // before it was ready
}

func newContainer(e *docker.Engine, spec *docker.Spec, log *slog.Logger) *containerService {
	s := &containerService{ready: make(chan struct{})}
	s.keeper = docker.Keeper{
		Engine: e, Spec: spec, Grace: listenerGrace, Log: log,
		Said: func(message string) {
			if strings.HasPrefix(message, "listener is ready") {
				s.isReady()
			}
		},
		Runs: func(adopted bool) {
			if adopted {
				s.isReady()
			}
		},
		Broken: func(err error, _ time.Duration) {
			select {
			case <-s.ready:
			default:
				s.failed = err
				s.cancel()
			}
		},
	}
	return s
}

func (s *containerService) isReady() { s.once.Do(func() { close(s.ready) }) }

func (s *containerService) Name() string { return "the container " + s.keeper.Spec.Name }

// Ready is closed when the listener takes requests.
func (s *containerService) Ready() <-chan struct{} { return s.ready }

// Run keeps the container until ctx ends.
func (s *containerService) Run(ctx context.Context) error {
	ctx, s.cancel = context.WithCancel(ctx)
	defer s.cancel()
	return errors.Join(s.keeper.Run(ctx), s.failed)
}
