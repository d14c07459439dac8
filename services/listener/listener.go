// Package listener takes callbacks and triggers over HTTP, and answers success only when JetStream holds them.
package listener

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener/verify"
	"github.com/switchbackhq/switchback/services/listener/verify/fetch"
)

// Publisher stores what a listener takes. It returns nil only when JetStream holds it; *bus.Bus is one.
type Publisher interface {
	PublishCallback(ctx context.Context, cb *event.Callback) (bus.Ack, error)
	PublishRunRequest(ctx context.Context, r *event.RunRequest) (bus.Ack, error)
}

// Store is what a listener reads and writes besides; *bus.Bus is one.
type Store interface {
	Publish(ctx context.Context, m *bus.Message) (bus.Ack, error)
	Notify(subject string, h bus.Header, data []byte) error
	Bucket(name string) *bus.Bucket
}

// Deps is what a Listener works with.
type Deps struct {
	Bus      Publisher
	Store    Store // of records, remembered deliveries and gateways; nil: Bus, where it is one
	Document *compose.Document
	Logger   *slog.Logger                     // nil: silent
	Registry prometheus.Registerer            // nil: no metrics
	Tracer   trace.Tracer                     // nil: no traces
	Getenv   func(name string) (string, bool) // for ${env.X}; nil: the process's
	Fetch    verify.Fetcher                   // gets keys and certificates; nil: over https
}

// Listener serves the listeners of a compose file. It keeps nothing: any number of it may serve the same file.
type Listener struct {
	servers  []*server
	store    Store
	gateways *gateways
	records  *recorder     // nil: none
	fetch    *fetch.Client // our own, to be closed
	log      *slog.Logger
	config   Config
	ready    chan struct{}

	deps     Deps
	metrics  *metrics
	verifies chan struct{} // closed when some endpoint verifies
	once     sync.Once     // to close it
}

// Address is where one listener of the file is served.
type Address struct {
	Listener string // its id
	Addr     string // host:port
	URL      string // with the base path; 0.0.0.0 is written as 127.0.0.1
}

// New makes a Listener. What cannot be served as the file says, such as a signature that cannot be checked, is an error.
func New(c Config, d Deps) (*Listener, error) {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Getenv == nil {
		d.Getenv = os.LookupEnv
	}
	if d.Store == nil {
		d.Store, _ = d.Bus.(Store)
	}
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "the listener's settings are not usable", "")
	}
	m, err := newMetrics(d.Registry)
	if err != nil {
		return nil, err
	}
	l := &Listener{
		store: d.Store, gateways: &gateways{}, log: d.Logger, config: c, ready: make(chan struct{}), metrics: m, verifies: make(chan struct{}),
	}
	for _, id := range c.Listeners {
		if !slices.ContainsFunc(d.Document.Listeners, func(l *compose.Listener) bool { return l.ID == id }) {
			return nil, fault.New(fault.Usage, "the file has no listener "+id, "name one of its listeners, or none for all")
		}
	}
	if d.Store != nil {
		l.records = newRecorder(d.Store, m, d.Logger)
	}
	if d.Fetch == nil {
		l.fetch = fetch.New(nil)
		d.Fetch = l.fetch
	}
	l.deps = d
	var errs []error
	for _, cl := range d.Document.Listeners {
		if len(c.Listeners) > 0 && !slices.Contains(c.Listeners, cl.ID) {
			continue
		}
		s, err := newServer(c, d, m, l, cl)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		l.servers = append(l.servers, s)
		l.noteVerify(s.routes.Load())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(l.servers) == 0 {
		return nil, fault.New(fault.Usage, "the file has no listener", "add a section listener, or do not start this service")
	}
	return l, nil
}

// Name is "listener".
func (l *Listener) Name() string { return "listener" }

// Ready is closed when every listener takes requests.
func (l *Listener) Ready() <-chan struct{} { return l.ready }

// Addresses tells where the listeners are served, in the order of the file, once they are ready.
func (l *Listener) Addresses() []Address {
	select {
	case <-l.ready:
	default:
		return nil
	}
	out := make([]Address, len(l.servers))
	for i, s := range l.servers {
		out[i] = s.address()
	}
	return out
}

// Run serves until ctx ends, then takes nothing new, finishes what is in flight with its publishes, and returns.
// A Listener runs once.
func (l *Listener) Run(ctx context.Context) error {
	for i, s := range l.servers {
		if err := s.listen(ctx); err != nil {
			for _, open := range l.servers[:i] {
				err = errors.Join(err, open.socket.Close())
			}
			return err
		}
	}
	// What is in flight outlives ctx; it ends with the time for shutting down.
	working, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()

	failed := make(chan error, len(l.servers))
	var accepting, aside, writing sync.WaitGroup
	if l.fetch != nil {
		defer l.fetch.Close()
	}
	defer aside.Wait()
	recording, forget := context.WithCancel(context.WithoutCancel(ctx))
	defer forget()
	if l.records != nil {
		writing.Go(func() { l.records.run(recording) })
	}
	if l.store != nil {
		// Some signatures cover the address that the sender has called.
		watching, unwatch := context.WithCancel(working)
		defer unwatch()
		aside.Go(func() {
			select {
			case <-l.verifies:
				l.gateways.watch(watching, l.store, l.log)
			case <-watching.Done():
			}
		})
	}
	for _, s := range l.servers {
		accepting.Go(func() {
			if err := s.serve(working); err != nil {
				failed <- err
			}
		})
	}
	close(l.ready)
	for _, a := range l.Addresses() {
		l.log.Info("listener is ready", slog.String("listener", a.Listener), slog.String("url", a.URL))
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	l.stop(working, abandon)
	accepting.Wait()
	if l.records != nil {
		// Nobody adds to it any more: what is left is stored, within bounds.
		close(l.records.queue)
		last := time.AfterFunc(recordClose, forget)
		writing.Wait()
		last.Stop()
	}
	return err
}

// stop ends all servers at once and waits for them. When the time for it is over, what is in flight is abandoned:
// its publishes fail, and its clients are told to come again.
func (l *Listener) stop(ctx context.Context, abandon func()) {
	grace, cancel := context.WithTimeout(ctx, l.config.ShutdownTimeout)
	defer cancel()
	var stopping sync.WaitGroup
	for _, s := range l.servers {
		stopping.Go(func() {
			s.stop(grace, func() {
				l.log.Warn("requests in flight are abandoned", slog.String("listener", s.conf.ID))
				abandon()
			})
		})
	}
	stopping.Wait()
}
