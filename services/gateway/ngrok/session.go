package ngrok

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.ngrok.com/ngrok/v2"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// session is one connection to the edge and those who use it.
type session struct {
	token  string
	agent  ngrok.Agent
	ctx    context.Context //nolint:containedctx // the library's contexts are the session's life
	cancel context.CancelCauseFunc
	users  int            // under the driver's lock
	ready  chan struct{}  // closed when connected, or when ctx has ended
	ended  chan struct{}  // closed when everything of it has ended
	work   sync.WaitGroup // of its users: waited for when the last has released it

	mu        sync.Mutex
	was       bool // it has been connected
	connected bool
	reason    error         // why it is not
	changed   chan struct{} // closed and replaced at every change
}

var errReleased = errors.New("not needed any more")

// acquire gives the session, made if need be. The caller calls release.
func (d *Driver) acquire(ctx context.Context) (*session, func(), error) {
	d.mu.Lock()
	s := d.session
	if s == nil {
		s = &session{token: d.s.AuthToken, ready: make(chan struct{}), ended: make(chan struct{}), changed: make(chan struct{})}
		s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		d.session = s
		go d.connect(s)
	}
	s.users++
	d.mu.Unlock()
	release := func() { d.release(s) }
	select {
	case <-s.ready:
	case <-ctx.Done():
		release()
		return nil, nil, context.Cause(ctx)
	}
	if err := s.cause(); err != nil {
		release()
		return nil, nil, err
	}
	return s, release, nil
}

func (d *Driver) forget(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session == s {
		d.session = nil
	}
}

func (d *Driver) release(s *session) {
	d.mu.Lock()
	s.users--
	last := s.users == 0
	if last && d.session == s {
		d.session = nil
	}
	d.mu.Unlock()
	if last {
		s.cancel(errReleased)
		<-s.ended
		s.work.Wait()
	}
}

// connect makes the session and waits for its end.
func (d *Driver) connect(s *session) {
	defer close(s.ended)
	defer d.forget(s)
	options := []ngrok.AgentOption{
		ngrok.WithAuthtoken(d.s.AuthToken), ngrok.WithHeartbeatInterval(d.s.Heartbeat), ngrok.WithHeartbeatTolerance(d.s.Heartbeat * 3 / 2),
		ngrok.WithEventHandler(s.handle), ngrok.WithLogger(slog.New(slog.DiscardHandler)), // its events say all, and its texts hold secrets
		ngrok.WithClientInfo("switchback-gateway", "1"),
	}
	if d.s.ConnectURL != "" {
		options = append(options, ngrok.WithAgentConnectURL(d.s.ConnectURL))
	}
	if d.roots != nil {
		options = append(options, ngrok.WithAgentConnectCAs(d.roots))
	}
	agent, err := ngrok.NewAgent(options...)
	if err != nil {
		s.cancel(s.explain(err))
		close(s.ready)
		return
	}
	s.agent = agent
	// The library tries again for ever, also with a wrong token: the first failure ends it (handle), and the keeper
	// decides what comes next.
	slow := time.AfterFunc(d.s.StepTime, func() {
		s.cancel(&tunnel.Error{Class: tunnel.Network, Message: "ngrok cannot be reached within " + d.s.StepTime.String(), Hint: reachHint})
	})
	err = agent.Connect(s.ctx)
	slow.Stop()
	if err != nil {
		s.cancel(s.explain(err)) // unless it has a cause already
		close(s.ready)
		return
	}
	close(s.ready)
	s.watch()
	_ = agent.Disconnect() // it may be gone already
}

// watch ends the session when the library has not come back for too long.
func (s *session) watch() {
	late := time.NewTimer(reconnectTime)
	late.Stop()
	defer late.Stop()
	for {
		connected, changed, reason := s.look()
		if connected {
			late.Stop()
		} else {
			late.Reset(reconnectTime)
		}
		select {
		case <-s.ctx.Done():
			return
		case <-late.C:
			s.cancel(reason)
		case <-changed:
		}
	}
}

// cause is why the session has ended; nil while it has not.
func (s *session) cause() error { return context.Cause(s.ctx) }

// look tells whether the session is connected, or why not, and what is closed when that changes.
func (s *session) look() (connected bool, changed <-chan struct{}, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected, s.changed, s.reason
}

// handle takes the library's events. It is called under the library's locks: it must neither block nor call it.
func (s *session) handle(event ngrok.Event) {
	switch e := event.(type) {
	case *ngrok.EventAgentConnectSucceeded:
		s.set(true, nil)
	case *ngrok.EventAgentDisconnected:
		if e.Error == nil {
			return // we have ended it
		}
		reason := s.explain(e.Error)
		if first := s.set(false, reason); first || reason.Class != tunnel.Network {
			s.cancel(reason)
		}
	}
}

// set notes the state, and tells whether the session has never been connected.
func (s *session) set(connected bool, reason error) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connected, s.reason, s.was = connected, reason, s.was || connected
	close(s.changed)
	s.changed = make(chan struct{})
	return !s.was
}
