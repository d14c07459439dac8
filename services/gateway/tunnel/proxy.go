package tunnel

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// ProxyConfig says what a proxy leads to.
type ProxyConfig struct {
	Target  string            // host:port
	Scheme  string            // of the target: http or https
	Dial    http.RoundTripper // to the target; nil: made
	Secret  Secret
	Trust   bool // the tunnel's other end sets X-Forwarded-For itself: it is passed on
	Proto   string
	MaxBody int64 // bytes of a request; zero: 64 MiB
	Limit   int   // requests at once; zero: 256
	Log     *slog.Logger
	Served  func(status int, took time.Duration) // told of every request; may be nil
}

// Bounds of a proxy.
const (
	defaultMaxBody  = 64 << 20
	defaultLimit    = 256
	headerTime      = 15 * time.Second
	idleTime        = 90 * time.Second
	maxHeader       = 64 << 10
	drainTime       = 10 * time.Second
	answerHeadTime  = 2 * time.Minute
	targetDialTime  = 5 * time.Second
	targetIdleConns = 64
)

// Proxy takes requests that come in by a tunnel and hands them to the local target.
type Proxy struct {
	c       ProxyConfig
	reverse *httputil.ReverseProxy
	slots   chan struct{}
}

// NewProxy makes a proxy.
func NewProxy(c ProxyConfig) *Proxy {
	if c.MaxBody <= 0 {
		c.MaxBody = defaultMaxBody
	}
	if c.Limit <= 0 {
		c.Limit = defaultLimit
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Scheme == "" {
		c.Scheme = "http"
	}
	if c.Dial == nil {
		c.Dial = NewTargetTransport()
	}
	p := &Proxy{c: c, slots: make(chan struct{}, c.Limit)}
	target := &url.URL{Scheme: c.Scheme, Host: c.Target}
	p.reverse = &httputil.ReverseProxy{
		Transport: c.Dial, ErrorHandler: p.targetFailed, FlushInterval: -1,
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host
			p.forwarded(r)
		},
	}
	return p
}

// forwarded sets the headers that tell the target who asks. A visitor's own are dropped, unless the tunnel's other
// end has written them.
func (p *Proxy) forwarded(r *httputil.ProxyRequest) {
	if p.c.Trust && r.In.Header.Get("X-Forwarded-For") != "" {
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"} {
			if v := r.In.Header.Values(name); len(v) > 0 {
				r.Out.Header[http.CanonicalHeaderKey(name)] = v
			}
		}
		return
	}
	r.Out.Header.Del("X-Real-Ip")
	r.Out.Header.Del("Cf-Connecting-Ip")
	r.SetXForwarded()
	if p.c.Proto != "" {
		r.Out.Header.Set("X-Forwarded-Proto", p.c.Proto)
	}
}

// targetFailed answers for a target that did not.
func (p *Proxy) targetFailed(w http.ResponseWriter, r *http.Request, err error) {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		http.Error(w, "the request is too large for this gateway", http.StatusRequestEntityTooLarge)
		return
	}
	if r.Context().Err() != nil {
		w.WriteHeader(http.StatusBadGateway) // the visitor has gone
		return
	}
	p.c.Log.Warn("the local service did not answer", slog.String("target", p.c.Target), slog.Any("error", err))
	http.Error(w, "the service behind this gateway does not answer", http.StatusBadGateway)
}

// ServeHTTP answers probes, and hands everything else to the target.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if nonce, ok := strings.CutPrefix(r.URL.Path, probePath); ok {
		p.proveItself(w, nonce)
		return
	}
	began := time.Now()
	rec := &recorder{ResponseWriter: w}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
		r.Body = http.MaxBytesReader(w, r.Body, p.c.MaxBody)
		p.reverse.ServeHTTP(rec, r)
	default:
		rec.Header().Set("Retry-After", "2")
		http.Error(rec, "too many requests at once", http.StatusServiceUnavailable)
	}
	took := time.Since(began)
	if p.c.Served != nil {
		p.c.Served(rec.status, took)
	}
	p.c.Log.LogAttrs(r.Context(), slog.LevelDebug, "request through the tunnel", slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", rec.status), slog.Int64("bytes", rec.bytes), slog.Duration("took", took), slog.String("from", r.RemoteAddr))
}

func (p *Proxy) proveItself(w http.ResponseWriter, nonce string) {
	if len(nonce) > maxNonce {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, p.c.Secret.answer(nonce)) // who went away needs no answer
}

// Serve takes what comes in on l until ctx ends. Then nothing new is taken, what is in flight has some seconds to
// finish, and l is closed.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{
		Handler: p, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(p.c.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(&timelyListener{Listener: l}) }()
	select {
	case err := <-ended:
		_ = s.Close()
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := s.Shutdown(grace); err != nil {
		p.c.Log.Warn("requests in flight are cut off", slog.Any("error", err))
		_ = s.Close()
	}
	<-ended
	return nil
}

// NewTargetTransport makes the transport to a target. A target on this machine may have a certificate for its public
// name alone, so that it is not checked.
func NewTargetTransport() *http.Transport {
	return &http.Transport{
		DialContext:     (&net.Dialer{Timeout: targetDialTime}).DialContext,
		TLSClientConfig: insecureTarget(), ResponseHeaderTimeout: answerHeadTime,
		MaxIdleConnsPerHost: targetIdleConns, IdleConnTimeout: idleTime, DisableCompression: true,
	}
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController flush and hijack.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
