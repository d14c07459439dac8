package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
)

// server is one listener of the file.
type server struct {
	conf      *compose.Listener
	config    Config
	bus       Publisher
	getenv    func(string) (string, bool)
	log       *slog.Logger
	metrics   *metrics
	tracer    trace.Tracer // nil: off
	routes    atomic.Pointer[routes]
	elsewhere *endpoint // counts requests that no endpoint takes
	gate      *gate
	maxBody   int64
	proxies   []netip.Prefix
	gateways  *gateways
	records   *recorder // nil: none
	store     Store     // nil: none

	http    *fasthttp.Server
	tls     *tls.Config
	socket  net.Listener
	conns   conns
	working context.Context //nolint:containedctx // what requests work with; fasthttp's handlers get none
	jobs    sync.Pool       // of *job
	storm   rate.Sometimes  // of requests that we fail
	strays  rate.Sometimes  // that no endpoint takes

	inFlight prometheus.Gauge
	bytes    prometheus.Counter
	publish  prometheus.Observer
}

func newServer(c Config, d Deps, m *metrics, of *Listener, l *compose.Listener) (*server, error) {
	s := &server{
		conf: l, config: c, bus: d.Bus, getenv: d.Getenv, log: d.Logger.With(slog.String("listener", l.ID)), metrics: m, tracer: d.Tracer,
		elsewhere: newEndpoint(m, l.ID, ""),
		gateways:  of.gateways, store: d.Store, maxBody: l.MaxBodySize, storm: rate.Sometimes{First: 10, Interval: time.Second},
		strays:   rate.Sometimes{First: 1, Interval: 10 * time.Second},
		gate:     newGate(l.MaxConcurrentCount, c.QueueLength, c.QueueTimeout),
		inFlight: m.inFlight.WithLabelValues(l.ID), bytes: m.bytes.WithLabelValues(l.ID), publish: m.publish.WithLabelValues(l.ID),
	}
	s.jobs.New = func() any { return new(job) }
	routes, err := newRoutes(l, d.Getenv, m, d.Fetch)
	if err != nil {
		return nil, err
	}
	s.routes.Store(routes)
	if l.Record != "off" {
		s.records = of.records
	}
	if s.proxies, err = networks(l.TrustedProxies); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "trusted_proxies of listener "+l.ID, "write addresses or networks: 10.0.0.0/8")
	}
	if s.tls, err = serverTLS(l.TLS, s.log); err != nil {
		return nil, err
	}
	if err := m.queue(l.ID, s.gate); err != nil {
		return nil, err
	}
	s.http = &fasthttp.Server{
		Handler: s.handle, ErrorHandler: s.refuse, ConnState: s.conns.changed,
		// The header has its own time; then the whole request has the listener's.
		ReadTimeout: min(c.HeaderTimeout, l.ReadTimeout),
		HeaderReceived: func(*fasthttp.RequestHeader) fasthttp.RequestConfig {
			return fasthttp.RequestConfig{ReadTimeout: l.ReadTimeout}
		},
		WriteTimeout:       c.WriteTimeout,
		IdleTimeout:        c.IdleTimeout,
		ReadBufferSize:     c.MaxHeaderSize,
		MaxRequestBodySize: int(s.maxBody),
		Concurrency:        c.MaxConnections,
		Logger:             quiet{}, SecureErrorLogMessage: true,
		NoDefaultServerHeader: true, NoDefaultContentType: true, DisablePreParseMultipartForm: true,
	}
	return s, nil
}

// quiet drops what fasthttp logs: mostly the bytes of requests that it could not read.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// listen opens the socket.
func (s *server) listen(ctx context.Context) error {
	addr := net.JoinHostPort(s.conf.Host, strconv.Itoa(s.conf.Port))
	var lc net.ListenConfig
	socket, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.Wrap(err, fault.Conflict, fmt.Sprintf("port %d of listener %s is taken", s.conf.Port, s.conf.ID),
			"stop what uses the port, or change the listener's port in the file (or with --set listener.port=…)")
	case errors.Is(err, syscall.EACCES):
		return fault.Wrap(err, fault.Forbidden, fmt.Sprintf("port %d of listener %s may not be used", s.conf.Port, s.conf.ID),
			"choose a port above 1023 in the file (or with --set listener.port=…)")
	case err != nil:
		return fault.Wrap(err, fault.Unavailable, fmt.Sprintf("listener %s cannot listen on %s", s.conf.ID, addr),
			"change the listener's host or port in the file")
	}
	s.socket = socket
	return nil
}

// serve takes connections until the socket is closed. Requests work within ctx.
func (s *server) serve(ctx context.Context) error {
	s.working = ctx
	if err := s.conns.accept(ctx, s.socket, s.serveConn); err != nil {
		return fmt.Errorf("accept connections for listener %s: %w", s.conf.ID, err)
	}
	return nil
}

func (s *server) serveConn(c *conn) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("a connection's handling panicked", slog.Any("panic", v))
		}
	}()
	var nc net.Conn = c
	if s.tls != nil {
		nc = tls.Server(c, s.tls)
	}
	_ = s.http.ServeConn(nc) // how a connection ends is the client's affair, and the error may quote a header
}

// stop takes nothing new and waits for what is in flight; abandon is called when ctx ends before that.
func (s *server) stop(ctx context.Context, abandon func()) {
	_ = s.socket.Close()
	s.conns.stop(ctx, abandon)
}

// port is the one that is listened on, which the file may leave open.
func (s *server) port() int {
	if tcp, ok := s.socket.Addr().(*net.TCPAddr); ok {
		return tcp.Port
	}
	return s.conf.Port
}

func (s *server) address() Address {
	addr := s.socket.Addr().String()
	a := Address{Listener: s.conf.ID, Addr: addr}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return a
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if s.tls != nil {
		scheme = "https://"
	}
	a.URL = scheme + net.JoinHostPort(host, port) + s.conf.BasePath
	return a
}

// retryAfter is what Retry-After says: whole seconds, at least one.
func retryAfter(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}

// networks reads addresses and networks.
func networks(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, t := range texts {
		p, err := netip.ParsePrefix(t)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(strings.TrimSpace(t)); err == nil {
				a = a.Unmap()
				p = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network", t)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func within(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
