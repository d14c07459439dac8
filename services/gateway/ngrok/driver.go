// Package ngrok holds endpoints of ngrok in this process: a tunnel.Driver.
package ngrok

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"golang.ngrok.com/ngrok/v2"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// Settings are an account and where its edge is.
type Settings struct {
	AuthToken  string
	ConnectURL string // another edge than the public one
	ConnectCA  []byte // PEM: that edge's authority
	// Heartbeat is between two questions whether the edge is there; zero: 10 s. It has half as long again to answer.
	Heartbeat time.Duration
	// StepTime bounds connecting and each endpoint. Zero: 30 s.
	StepTime time.Duration
	Log      *slog.Logger
}

const (
	defaultHeartbeat = 10 * time.Second
	defaultStep      = 30 * time.Second
	// reconnectTime is how long the library may try to connect again by itself, which keeps a random name.
	reconnectTime = 30 * time.Second
	closeTime     = 2 * time.Second
)

// Driver holds any number of endpoints over one session: an account of the free plan has but one.
type Driver struct {
	s     Settings
	roots *x509.CertPool

	mu      sync.Mutex
	session *session
}

// New makes a Driver. It connects when the first tunnel runs.
func New(s Settings) (*Driver, error) {
	if s.Heartbeat <= 0 {
		s.Heartbeat = defaultHeartbeat
	}
	if s.StepTime <= 0 {
		s.StepTime = defaultStep
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	d := &Driver{s: s}
	if len(s.ConnectCA) > 0 {
		d.roots = x509.NewCertPool()
		if !d.roots.AppendCertsFromPEM(s.ConnectCA) {
			return nil, &tunnel.Error{Class: tunnel.Config, Message: "connect_ca holds no certificate", Hint: "it must be a PEM file"}
		}
	}
	return d, nil
}

// Run holds one endpoint until ctx ends or it fails.
func (d *Driver) Run(ctx context.Context, spec tunnel.Spec, report func(tunnel.Observation)) error {
	s, release, err := d.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	report(tunnel.Observation{SignedIn: "the authtoken is taken"})
	l, err := s.listen(ctx, spec.Name, d.s.StepTime) //nolint:contextcheck // an endpoint lives in the session's context
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- spec.Serve(serving, &listener{EndpointListener: l, session: s}) }()
	defer func() {
		stop()
		<-served
	}()
	open := tunnel.Observation{URL: strings.TrimSuffix(l.URL().String(), "/"), Address: l.URL().Host}
	report(open)
	connected := true
	for {
		now, changed, reason := s.look()
		if now != connected {
			if connected = now; now {
				report(open) // as far as the library tells: it does not tell of another name, the probe does
			} else {
				report(tunnel.Observation{Err: reason})
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.ctx.Done():
			return s.cause()
		case <-changed:
		case err := <-served:
			served <- nil // for the deferred wait
			return s.whyEnded(ctx, err)
		}
	}
}

// whyEnded tells why an endpoint has ended.
func (s *session) whyEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was told to end
	}
	if cause := s.cause(); cause != nil {
		return cause
	}
	if err == nil {
		err = errors.New("stopped by ngrok")
	}
	e := s.explain(err)
	e.Message = "ngrok has ended the endpoint: " + e.Message
	return e
}

// listener is an endpoint whose Close does not wait for an edge that has gone quiet.
type listener struct {
	ngrok.EndpointListener
	session *session
}

func (l *listener) Close() error {
	ctx, cancel := context.WithTimeout(l.session.ctx, closeTime)
	defer cancel()
	closed := make(chan error, 1)
	l.session.work.Go(func() { closed <- l.CloseWithContext(ctx) })
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// listen asks the edge for an endpoint.
func (s *session) listen(ctx context.Context, domain string, step time.Duration) (ngrok.EndpointListener, error) {
	var options []ngrok.EndpointOption
	if domain != "" {
		options = append(options, ngrok.WithURL("https://"+domain))
	}
	type result struct {
		l   ngrok.EndpointListener
		err error
	}
	asked := make(chan result, 1)
	s.work.Go(func() { // the session's context: the one given here governs the endpoint's whole life
		l, err := s.agent.Listen(s.ctx, options...)
		asked <- result{l, err}
	})
	timer := time.NewTimer(step)
	defer timer.Stop()
	select {
	case r := <-asked:
		if r.err != nil {
			if cause := s.cause(); cause != nil {
				return nil, cause
			}
			return nil, s.explain(r.err)
		}
		return r.l, nil
	case <-timer.C:
		s.cancel(&tunnel.Error{Class: tunnel.Network, Message: fmt.Sprintf("ngrok does not answer within %s", step)})
		return nil, s.cause()
	case <-s.ctx.Done():
		return nil, s.cause()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

var _ net.Listener = (*listener)(nil)
