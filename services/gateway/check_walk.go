package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// checking is a check of one port.
type checking struct {
	plan   plan
	driver tunnel.Driver
	edge   edge
	tell   func(Step)
	failed []string
}

// step does one thing, and tells how it went. Where ctx has ended it tells nothing: nothing was found out.
func (k *checking) step(ctx context.Context, name string, limit time.Duration, f func(ctx context.Context) (said string, err error)) bool {
	if ctx.Err() != nil {
		return false
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	said, err := f(bounded)
	if ctx.Err() != nil {
		return false
	}
	k.done(name, said, err, time.Since(began))
	return err == nil
}

// done tells of a step that was taken.
func (k *checking) done(name, said string, err error, took time.Duration) {
	s := k.of(name, StepOK, said)
	s.Took = took
	if err != nil {
		k.failed = append(k.failed, name)
		e := tunnel.Classify(err)
		s.State, s.Said, s.Error, s.Fix = StepFailed, "", e.Message, cmp.Or(e.Hint, lastResort)
		if name == stepBind && e.Class == tunnel.Conflict {
			s.Fix += "; or the gateway itself holds it, if it runs now: `switchback gateways` tells"
		}
	}
	k.tell(s)
}

// lastResort is the fix of failures of the network and of the other side that say no more.
const lastResort = "try again; where it stays so, look for what breaks connections on the way there, and at the other side's log or status page"

// pass tells of steps that were not taken, or not by themselves.
func (k *checking) pass(ctx context.Context, state StepState, why string, names ...string) {
	if ctx.Err() != nil {
		return
	}
	for _, name := range names {
		k.tell(k.of(name, state, why))
	}
}

func (k *checking) of(name string, state StepState, said string) Step {
	return Step{Gateway: k.plan.id, Port: k.plan.port, Driver: k.plan.driver, Name: name, State: state, Said: said}
}

// notTried is said of steps that were not reached.
const notTried = "not tried"

func (k *checking) walk(ctx context.Context) {
	if reached := k.reach(ctx); ctx.Err() != nil {
		return
	} else if reached || k.edge.elsewhere {
		k.open(ctx)
		return
	}
	k.pass(ctx, StepNotTried, notTried, stepSignIn, stepBind)
	k.local(ctx)
	k.pass(ctx, StepNotTried, notTried, stepPublic)
}

// reach goes as far as the provider's door.
func (k *checking) reach(ctx context.Context) bool {
	e := k.edge
	addr := net.JoinHostPort(e.host, e.port)
	if !k.step(ctx, stepDNS, stepTime, func(ctx context.Context) (string, error) {
		if net.ParseIP(e.host) != nil {
			return e.host + " is an address already", nil
		}
		found, err := net.DefaultResolver.LookupHost(ctx, e.host)
		if err != nil {
			return "", &tunnel.Error{Message: e.host + " is not known: " + dnsReason(err), Hint: "check the name, and this machine's DNS (/etc/resolv.conf)", Err: err}
		}
		return fmt.Sprintf("%s is %s", e.host, found[0]), nil
	}) {
		k.pass(ctx, StepNotTried, notTried, stepTCP, stepTLS)
		return false
	}
	if !k.step(ctx, stepTCP, stepTime, func(ctx context.Context) (string, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return "", &tunnel.Error{Message: addr + " cannot be reached: " + dialReason(err), Hint: "a firewall may close the way out, or nothing listens there", Err: err}
		}
		_ = c.Close()
		return addr + " takes connections", nil
	}) {
		k.pass(ctx, StepNotTried, notTried, stepTLS)
		return false
	}
	if e.noTLS != "" {
		k.pass(ctx, StepNone, e.noTLS, stepTLS)
		return true
	}
	return k.step(ctx, stepTLS, stepTime, func(ctx context.Context) (string, error) {
		c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: e.roots, ServerName: e.host, MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", addr)
		if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown && e.roots == nil {
			return "its authority is not the system's; the driver brings ngrok's own", nil
		}
		if err != nil {
			return "", &tunnel.Error{Message: "TLS with " + addr + " fails: " + dialReason(err), Hint: "something may intercept TLS here: set connect_ca to its authority", Err: err}
		}
		_ = c.Close()
		return "the certificate is trusted", nil
	})
}

func dnsReason(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e.Err
	}
	return err.Error()
}

func dialReason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return "no answer within " + stepTime.String()
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// local looks whether something listens on the local port.
func (k *checking) local(ctx context.Context) {
	k.step(ctx, stepLocal, stepTime, func(ctx context.Context) (string, error) {
		if err := dialTarget(k.plan.target)(ctx); err != nil {
			return "", &tunnel.Error{Message: err.Error(), Hint: "start what is to listen there; visitors get 502 until then", Err: err}
		}
		return k.plan.target + " answers", nil
	})
}

// open opens the tunnel and asks through it.
func (k *checking) open(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	secret := tunnel.NewSecret()
	transport := tunnel.NewTargetTransport()
	defer transport.CloseIdleConnections()
	proxy := tunnel.NewProxy(tunnel.ProxyConfig{Target: k.plan.target, Scheme: k.plan.scheme, Dial: transport, Secret: secret, Trust: k.plan.trust, Proto: k.plan.proto})
	seen, ended := make(chan tunnel.Observation, 1), make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- k.driver.Run(ctx, tunnel.Spec{
			Gateway: k.plan.id, Port: k.plan.port, Remote: k.plan.remote, Name: k.plan.name, Target: k.plan.target, Serve: proxy.Serve,
		}, func(o tunnel.Observation) {
			select {
			case seen <- o:
			case <-ctx.Done():
			}
		})
	}()
	defer func() {
		cancel()
		for range ended { //nolint:revive // until it has ended
		}
	}()
	public := k.bind(ctx, seen, ended)
	k.local(ctx)
	if public == "" {
		k.pass(ctx, StepNotTried, notTried, stepPublic)
		return
	}
	k.prove(ctx, public, secret)
}

// bind waits until the driver has signed in and the tunnel is open, and gives its public URL; "" when it does not open.
func (k *checking) bind(ctx context.Context, seen <-chan tunnel.Observation, ended <-chan error) (public string) {
	began, signedIn := time.Now(), false
	late := time.NewTimer(openTime)
	defer late.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ""
		case <-late.C:
			err = &tunnel.Error{Class: tunnel.Network, Message: "the tunnel did not open within " + openTime.String()}
		case err = <-ended:
			err = cmp.Or(err, error(&tunnel.Error{Class: tunnel.Remote, Message: "the tunnel was closed at once by the other side"}))
		case o := <-seen:
			switch {
			case o.Err != nil:
				err = o.Err
			case o.SignedIn != "":
				k.done(stepSignIn, o.SignedIn, nil, time.Since(began))
				began, signedIn = time.Now(), true
				continue
			default:
				if !signedIn {
					k.pass(ctx, StepOK, asOne, stepSignIn)
				}
				k.done(stepBind, o.URL, nil, time.Since(began))
				return o.URL
			}
		}
		if ctx.Err() != nil {
			return ""
		}
		k.notOpen(ctx, err, signedIn, time.Since(began))
		return ""
	}
}

// asOne is said of signing in where it cannot be told from binding.
const asOne = "as one with bind: Cloudflare takes both by one request"

// notOpen tells which of the two steps an error belongs to.
func (k *checking) notOpen(ctx context.Context, err error, signedIn bool, took time.Duration) {
	class := tunnel.Classify(err).Class
	switch {
	case signedIn:
		k.done(stepBind, "", err, took)
	case k.plan.asOne && class != tunnel.Auth && class != tunnel.Config:
		k.pass(ctx, StepUnknown, asOne+", and does not tell which has failed", stepSignIn)
		k.done(stepBind, "", err, took)
	default:
		k.done(stepSignIn, "", err, took)
		k.pass(ctx, StepNotTried, notTried, stepBind)
	}
}

// prove asks through the public URL.
func (k *checking) prove(ctx context.Context, public string, secret tunnel.Secret) {
	limit, once := proveTime, false
	if k.plan.driver == compose.SSH { // no new name, which could take its time
		limit, once = stepTime, !k.plan.trust
	}
	k.step(ctx, stepPublic, limit, func(ctx context.Context) (string, error) {
		prober := tunnel.NewProber(secret, k.plan.hint, nil)
		probe := prober.Probe
		if !k.plan.through {
			probe = prober.Answers
		}
		pause := time.NewTicker(time.Second)
		defer pause.Stop()
		var err error
		for {
			last := probe(ctx, public)
			if last == nil {
				return "a request through " + public + " came back", nil
			}
			if err == nil || ctx.Err() == nil { // the bound's own end tells nothing
				err = last
			}
			if once {
				return "", err
			}
			select {
			case <-ctx.Done():
				return "", err
			case <-pause.C:
			}
		}
	})
}
