package gateway

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
)

// Step is one step of a check.
type Step struct {
	Gateway string        `json:"gateway"`
	Port    int           `json:"port"`
	Driver  string        `json:"driver"`
	Name    string        `json:"name"`
	State   StepState     `json:"state"`
	Took    time.Duration `json:"-"`
	Said    string        `json:"said,omitempty"` // what was found, or why the step was not taken
	Error   string        `json:"error,omitempty"`
	Fix     string        `json:"fix,omitempty"`
}

// StepState is how a step went.
type StepState string

// The states of a step.
const (
	StepOK       StepState = "ok"
	StepFailed   StepState = "failed"
	StepNotTried StepState = "not_tried" // a step before it has failed
	StepNone     StepState = "none"      // the driver has no such step
	StepUnknown  StepState = "unknown"   // it was tried as one with another, and which of them failed is not told
)

// The steps, in their order.
const (
	stepDNS    = "DNS"
	stepTCP    = "TCP"
	stepTLS    = "TLS"
	stepSignIn = "sign in"
	stepBind   = "bind"
	stepLocal  = "local port"
	stepPublic = "public URL"
)

// Bounds of a check's steps.
const (
	stepTime  = 10 * time.Second
	openTime  = 90 * time.Second // signing in and binding, together
	proveTime = 60 * time.Second // names need time to spread
)

// Check walks the way of one gateway's tunnels: the provider's name, TCP and TLS, then it opens a tunnel with the same
// settings, looks at the local port, and asks through the public URL. It tells each step as it is done, also those that
// were not reached, and gives an error when one has failed. A tunnel that another process holds open may refuse to be
// opened a second time.
func Check(ctx context.Context, c Config, d Deps, id string, tell func(Step)) error {
	if d.Getenv == nil {
		d.Getenv = os.LookupEnv
	}
	inside := newContainers(d)
	defer inside.close()
	g, err := named(d.Document, id)
	if err != nil {
		return err
	}
	one, here := *d.Document, *g
	if here.Driver != compose.Cloudflare {
		here.Runtime = "native" // the way is the same, and seen from here
	}
	one.Gateways = []*compose.Gateway{&here}
	groups, err := planned(&one, d.Getenv, c, inside)
	if err != nil {
		return err
	}
	var failed []string
	for _, g := range groups {
		driver := g.driver(slog.New(slog.DiscardHandler))
		for _, p := range g.plans {
			k := &checking{plan: p, driver: driver, edge: edgeOf(&here, d.Getenv), tell: tell}
			k.walk(ctx)
			failed = append(failed, k.failed...)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	if len(failed) > 0 {
		return fault.New(fault.Unavailable, "the check fails at: "+strings.Join(failed, ", "), "mend the first one first: those after it may follow from it")
	}
	return nil
}

// named finds a gateway; without an id, the only one.
func named(doc *compose.Document, id string) (*compose.Gateway, error) {
	for _, g := range doc.Gateways {
		if g.ID == id || len(doc.Gateways) == 1 && id == "" {
			return g, nil
		}
	}
	ids := make([]string, len(doc.Gateways))
	for i, g := range doc.Gateways {
		ids[i] = g.ID
	}
	switch {
	case len(ids) == 0:
		return nil, fault.New(fault.NotFound, "the file has no gateway", "add a section gateway, or name the file that has one with -f")
	case id == "":
		return nil, fault.New(fault.Usage, "the file has several gateways", "name one of them: "+strings.Join(ids, ", "))
	default:
		return nil, fault.New(fault.NotFound, "the file has no gateway "+strconv.Quote(id), "its gateways are: "+strings.Join(ids, ", "))
	}
}

// edge is where a provider is reached.
type edge struct {
	host, port string
	noTLS      string // why that is no step of its own
	roots      *x509.CertPool
	// elsewhere: the driver finds its way by itself too, so that it may go on where this one ends.
	elsewhere bool
}

func edgeOf(g *compose.Gateway, getenv func(string) (string, bool)) edge {
	r := &reading{getenv: getenv}
	switch g.Driver {
	case compose.SSH:
		return edge{host: r.text("connection.host", g.Connection.Host), port: strconv.Itoa(g.Connection.Port), noTLS: "SSH encrypts by itself; the host key is looked at when signing in"}
	case compose.Cloudflare:
		return edge{
			host: "region1.v2.argotunnel.com", port: "7844", elsewhere: true, noTLS: "cloudflared does it with signing in, with authorities of its own, and by QUIC where UDP passes",
		}
	default:
		e := edge{host: "connect.ngrok-agent.com", port: "443"}
		if u := r.text("connect_url", g.ConnectURL); u != "" {
			if host, port, err := net.SplitHostPort(u); err == nil {
				e.host, e.port = host, port
			}
		}
		if file := r.file("connect_ca", g.ConnectCA); file != "" {
			if data, err := os.ReadFile(file); err == nil {
				e.roots = x509.NewCertPool()
				e.roots.AppendCertsFromPEM(data)
			}
		}
		return e
	}
}
