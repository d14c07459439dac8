// Package server runs the servers of components of type http-server as child processes: started when first needed, started again when they end, gone with the runner.
package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// Times of a server's life.
const (
	look       = 50 * time.Millisecond
	firstPause = 250 * time.Millisecond
	lastPause  = 30 * time.Second
	steady     = 30 * time.Second // one that has run for so long begins again with the first pause
	stopWithin = 5 * time.Second  // after SIGTERM
)

// patience is how often a server may end before it was ready until those who need it are told, and do not wait for their deadline.
// Its pauses are longer in all than a server of another runner takes to leave the port.
const patience = 6

// Servers are the child processes of one runner. Use Close when nothing needs them any more.
type Servers struct {
	log    *slog.Logger
	getenv func(string) (string, bool)
	client *http.Client

	mu      sync.Mutex
	running map[int]*running // by port
	closed  bool
	owned   sync.WaitGroup
}

// New gives servers of which none runs yet. The variables that the file refers to are those of getenv.
func New(log *slog.Logger, getenv func(string) (string, bool)) *Servers {
	return &Servers{
		log: log, getenv: getenv, running: map[int]*running{},
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// running is one server, which is started again until it is stopped.
type running struct {
	component string
	conf      *compose.Server
	stop      context.CancelFunc
	stopped   chan struct{}

	mu     sync.Mutex
	ready  chan struct{} // closed when it is; another one when it has ended
	broken chan struct{} // closed when it does not become ready; another one when it has after all
	failed int           // times in a row
	why    error         // it is not ready
}

// Ready returns when the component's server takes requests; it starts it where it does not run. Two components may
// share a server when they describe it in the same way.
func (s *Servers) Ready(ctx context.Context, c *compose.Component) error {
	if c.Server == nil || len(c.Server.Start) == 0 {
		return &engine.Error{Code: codeServer, Permanent: true, Message: "component " + c.ID + " does not say how its server is started"}
	}
	r, err := s.get(c) //nolint:contextcheck // a server outlives the run that needs it first
	if err != nil {
		return err
	}
	r.mu.Lock()
	ready, broken := r.ready, r.broken
	r.mu.Unlock()
	select {
	case <-ready:
		return nil
	default:
	}
	select {
	case <-ready:
		return nil
	case <-r.stopped:
		return r.notReady("it was stopped")
	case <-broken:
		return r.notReady("it does not start")
	case <-ctx.Done():
		return r.notReady("it is not ready yet")
	}
}

const codeServer = "server"

func (r *running) notReady(what string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	message := fmt.Sprintf("the server of component %s on port %d: %s", r.component, r.conf.Port, what)
	if r.why != nil {
		message += ": " + r.why.Error()
	}
	return &engine.Error{Code: codeServer, Message: message}
}

// get gives the server on the component's port. One that another description has started, as the file was before it
// changed, gives way.
func (s *Servers) get(c *compose.Component) (*running, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, &engine.Error{Code: codeServer, Message: "the runner is stopping"}
		}
		r := s.running[c.Server.Port]
		if r != nil && r.conf.Same(c.Server) {
			s.mu.Unlock()
			return r, nil
		}
		if r == nil {
			ctx, stop := context.WithCancel(context.Background())
			r = &running{component: c.ID, conf: c.Server, stop: stop, stopped: make(chan struct{}), ready: make(chan struct{}), broken: make(chan struct{})}
			s.running[c.Server.Port] = r
			s.owned.Go(func() {
				defer close(r.stopped)
				s.supervise(ctx, r)
			})
			s.mu.Unlock()
			return r, nil
		}
		s.mu.Unlock()
		s.log.Info("another server takes the port", slog.String("component", c.ID), slog.Int("port", c.Server.Port))
		s.end(r)
	}
}

// end stops one server and forgets it.
func (s *Servers) end(r *running) {
	r.stop()
	<-r.stopped
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[r.conf.Port] == r {
		delete(s.running, r.conf.Port)
	}
}

// Keep stops the servers that a changed file describes in another way, or not at all. They are started again when a run needs
// them.
func (s *Servers) Keep(doc *compose.Document) {
	wanted := map[int]*compose.Server{}
	for _, c := range doc.Components {
		if c.Server != nil {
			wanted[c.Server.Port] = c.Server
		}
	}
	s.mu.Lock()
	var gone []*running
	for port, r := range s.running {
		if w := wanted[port]; w == nil || !w.Same(r.conf) {
			gone = append(gone, r)
		}
	}
	s.mu.Unlock()
	for _, r := range gone {
		s.end(r)
	}
}

// Close stops all, and returns when they have gone.
func (s *Servers) Close() {
	s.mu.Lock()
	s.closed = true
	for _, r := range s.running {
		r.stop()
	}
	s.mu.Unlock()
	s.owned.Wait()
	s.client.CloseIdleConnections()
}

// supervise runs a server until ctx ends.
func (s *Servers) supervise(ctx context.Context, r *running) {
	log := s.log.With(slog.String("component", r.component), slog.Int("port", r.conf.Port))
	installed := len(r.conf.Install) == 0
	for pause := firstPause; ; {
		began := time.Now()
		err := s.once(ctx, r, &installed, log)
		if ctx.Err() != nil {
			return
		}
		r.ended(err)
		if time.Since(began) > steady {
			pause = firstPause
		}
		log.Warn("the server has ended and is started again", slog.Any("error", err), slog.Duration("in", pause))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, lastPause)
	}
}

// ended notes that it has ended, or was not started at all.
func (r *running) ended(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why = err
	select {
	case <-r.ready: // it was: who comes now waits for the next
		r.ready = make(chan struct{})
		return
	default:
	}
	r.failed++
	if r.failed == patience || r.failed < patience && hopeless(err) {
		r.failed = patience
		close(r.broken)
	}
}

// hopeless tells whether trying again is of no use until somebody has done something.
func hopeless(err error) bool {
	return errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// once starts the server and waits for its end, which is an error unless ctx ends.
func (s *Servers) once(ctx context.Context, r *running, installed *bool, log *slog.Logger) error {
	if !*installed {
		p, err := s.start(r.conf, r.conf.Install, log)
		if err != nil {
			return fmt.Errorf("its install command: %w", err)
		}
		if err := p.wait(ctx); err != nil {
			return fmt.Errorf("its install command: %w", err)
		}
		*installed = true
	}
	if s.taken(ctx, r.conf.Port) {
		return fmt.Errorf("port %d is taken by another process", r.conf.Port)
	}
	p, err := s.start(r.conf, r.conf.Start, log)
	if err != nil {
		return err
	}
	log.Info("the server is started", slog.Int("pid", p.cmd.Process.Pid))
	looking, stop := context.WithCancel(ctx)
	var watched sync.WaitGroup
	watched.Go(func() { s.await(looking, r, log) })
	err = p.wait(ctx)
	stop()
	watched.Wait()
	if err == nil {
		err = errors.New("it ended by itself, without an error")
	}
	return err
}

// await looks at a server until it takes requests.
func (s *Servers) await(ctx context.Context, r *running, log *slog.Logger) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		err := s.healthy(ctx, r.conf)
		if err == nil {
			break
		}
		r.mu.Lock()
		r.why = err
		r.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	r.mu.Lock()
	r.why, r.failed = nil, 0
	close(r.ready)
	select {
	case <-r.broken:
		r.broken = make(chan struct{})
	default:
	}
	r.mu.Unlock()
	log.Info("the server is ready")
}

// healthy asks the server's health path, or else whether it listens.
func (s *Servers) healthy(ctx context.Context, conf *compose.Server) error {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(conf.Port))
	if conf.HealthPath == "" {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/"+strings.TrimLeft(conf.HealthPath, "/"), nil)
	if err != nil {
		return fmt.Errorf("health_path %s: %w", conf.HealthPath, err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", conf.HealthPath, resp.Status)
	}
	return nil
}

// taken tells whether somebody listens on a port: what answers there would not be ours.
func (s *Servers) taken(ctx context.Context, port int) bool {
	return s.healthy(ctx, &compose.Server{Port: port}) == nil
}
