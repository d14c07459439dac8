package cloudflare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// watched is a process as it is seen from here.
type watched struct {
	*Driver
	p      *process
	report func(tunnel.Observation)

	// signingIn: a quick tunnel is given its name before it is bound. A named one signs in and binds by one request.
	signingIn bool
	connected bool
	since     time.Time // of not being connected
	nameless  time.Time // since when it has been connected without telling its name
	told      bool      // that it has none
}

// watch asks the process how it is until ctx ends or it fails.
func (d *Driver) watch(ctx context.Context, p *process, report func(tunnel.Observation)) error {
	tick := time.NewTicker(d.s.Poll)
	defer tick.Stop()
	w := &watched{Driver: d, p: p, report: report, signingIn: d.s.Token == "" && d.s.Tunnel == "", since: time.Now()}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.ended:
			return p.why()
		case err := <-p.hopeless:
			return err
		case <-tick.C:
		}
		if err := w.look(ctx, p.metricsAddr()); err != nil {
			return err
		}
	}
}

// look asks once.
func (w *watched) look(ctx context.Context, metrics string) error {
	now := metrics != "" && w.ready(ctx, metrics)
	if metrics != "" && (w.signingIn || now && !w.connected) {
		host, err := w.hostname(ctx, metrics)
		if err != nil {
			return err
		}
		if w.signingIn && host != "" {
			w.signingIn = false
			w.report(tunnel.Observation{SignedIn: "no account is needed; Cloudflare has given the name " + host})
		}
		if now {
			w.open(host)
			return nil
		}
	}
	switch {
	case !now && w.connected:
		w.connected, w.since = false, time.Now()
		w.report(tunnel.Observation{Err: w.p.lately("cloudflared has lost its connections to Cloudflare")})
	case !now && time.Since(w.since) > w.s.Patience:
		return w.p.lately("cloudflared has had no connection to Cloudflare for " + w.s.Patience.String())
	}
	return nil
}

// open notes that the tunnel is open; without its name it is of no use, and is asked again.
func (w *watched) open(host string) {
	switch {
	case host != "":
		w.connected, w.nameless, w.told = true, time.Time{}, false
		w.report(tunnel.Observation{URL: "https://" + host, Address: net.JoinHostPort(host, "443")})
	case w.nameless.IsZero():
		w.nameless = time.Now()
	case !w.told && time.Since(w.nameless) > w.s.NameTime:
		w.told = true
		w.report(tunnel.Observation{Err: errNameless})
	}
}

var errNameless = &tunnel.Error{
	Class: tunnel.Config, Message: "cloudflared is connected, and Cloudflare has no public name for this tunnel",
	Hint: "give it one on its page at https://one.dash.cloudflare.com, or write hostname: hooks.example.com where that leads to it",
}

// lately is an error with what the process has said last.
func (p *process) lately(message string) error {
	if last := p.log.lastError(); last != "" {
		message += ": " + last
	}
	return &tunnel.Error{Class: tunnel.Network, Message: message, Hint: "check the way to region1.v2.argotunnel.com:7844, by UDP and TCP"}
}

// why is the error of a process that has ended by itself.
func (p *process) why() error {
	e := explainExit(p.exitCode(), p.log.lastErrors())
	if e == nil {
		e = &tunnel.Error{Class: tunnel.Remote, Message: fmt.Sprintf("cloudflared has ended with code %d", p.exitCode())}
	}
	if strings.TrimSpace(e.Message) == "" {
		return errors.New("cloudflared has ended")
	}
	return e
}
