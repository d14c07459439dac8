package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// AdminConfig says where the admin endpoint listens.
type AdminConfig struct {
	// Addr is host:port. A port 0 is a free one.
	Addr string
	// Asked tells that somebody chose Addr. A taken port is then an error; else a free one takes its place.
	Asked bool
	// Flag is what to change when the port is taken; "" is --admin-addr.
	Flag string
	// Pprof serves /debug/pprof too.
	Pprof bool
}

// Limits of the admin endpoint.
const (
	checkTimeout      = 2 * time.Second
	shutdownTimeout   = 5 * time.Second
	readHeaderTimeout = 5 * time.Second
)

// Admin serves /healthz, /readyz and /metrics. It is a supervise.Service: the first to start and the last to stop,
// so that it can tell how the others are doing.
type Admin struct {
	config   AdminConfig
	registry *prometheus.Registry
	log      *slog.Logger
	ready    chan struct{}
	draining atomic.Bool

	mu     sync.Mutex
	checks []check
	addr   string
}

// check is one part of readiness.
type check struct {
	name string
	f    func(ctx context.Context) error
}

// NewAdmin makes an Admin. A nil registry has no /metrics.
func NewAdmin(config AdminConfig, registry *prometheus.Registry, log *slog.Logger) *Admin {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Admin{config: config, registry: registry, log: log, ready: make(chan struct{})}
}

// AddCheck adds a part of readiness: nil is ready, an error is the reason why not. f may be called at any time,
// several times at once, and has two seconds.
func (a *Admin) AddCheck(name string, f func(ctx context.Context) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.checks = append(a.checks, check{name: name, f: f})
}

// Name is "admin".
func (a *Admin) Name() string { return "admin" }

// Ready is closed when the endpoint answers.
func (a *Admin) Ready() <-chan struct{} { return a.ready }

// Addr is where the endpoint listens, once it is ready; "" before.
func (a *Admin) Addr() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.addr
}

// Run serves until ctx ends and gives what is in flight five seconds. An Admin runs once.
func (a *Admin) Run(ctx context.Context) error {
	listener, err := a.listen(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.addr = listener.Addr().String()
	a.mu.Unlock()
	server := &http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	close(a.ready)
	a.log.Info("admin endpoint is ready", slog.String("addr", a.Addr()))
	select {
	case err := <-served:
		return fmt.Errorf("serve the admin endpoint: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err = server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close() // whoever still reads /debug/pprof/profile does not keep us
	}
	<-served // always http.ErrServerClosed after Shutdown
	if err != nil {
		return fmt.Errorf("stop the admin endpoint: %w", err)
	}
	return nil
}

func (a *Admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", a.readyz)
	if a.registry != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{
			ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn), Registry: a.registry,
		}))
	}
	if a.config.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}
