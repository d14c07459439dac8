package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// Step is one step of a check.
type Step struct {
	Port  int           `json:"port"`
	Name  string        `json:"name"`
	Took  time.Duration `json:"took"`
	Said  string        `json:"said,omitempty"` // what was found
	Error string        `json:"error,omitempty"`
	Fix   string        `json:"fix,omitempty"`
}

// Bounds of a check's steps.
const (
	stepTime  = 10 * time.Second
	openTime  = 90 * time.Second
	proveTime = 60 * time.Second
)

// Check walks the way of one gateway's tunnels: the local port, the provider's name, TCP and TLS, then it opens a tunnel
// with the same settings and asks through its public URL. It tells each step as it is done, and gives an error when one
// has failed. A tunnel that another process holds open may refuse to be opened a second time.
func Check(ctx context.Context, c Config, d Deps, id string, tell func(Step)) error {
	if d.Getenv == nil {
		d.Getenv = os.LookupEnv
	}
	inside := newContainers(d)
	defer inside.close()
	one := *d.Document
	one.Gateways = nil
	for _, g := range d.Document.Gateways {
		if g.ID == id || len(d.Document.Gateways) == 1 && id == "" {
			here := *g
			if here.Driver != compose.Cloudflare {
				here.Runtime = "native" // the way is the same, and seen from here
			}
			one.Gateways = append(one.Gateways, &here)
		}
	}
	if len(one.Gateways) == 0 {
		return fault.New(fault.NotFound, "the file has no gateway "+strconv.Quote(id), "its gateways are: "+names(d.Document))
	}
	groups, err := planned(&one, d.Getenv, c, inside)
	if err != nil {
		return err
	}
	failed := 0
	for _, g := range groups {
		driver := g.driver(slog.New(slog.DiscardHandler))
		for _, p := range g.plans {
			k := &checking{plan: p, driver: driver, tell: tell}
			k.walk(ctx, edgeOf(one.Gateways[0], d.Getenv))
			failed += k.failed
		}
	}
	if failed > 0 {
		return fault.New(fault.Unavailable, fmt.Sprintf("%d of the steps failed", failed), "mend the first one first: those after it may follow from it")
	}
	return nil
}

func names(doc *compose.Document) string {
	ids := make([]string, len(doc.Gateways))
	for i, g := range doc.Gateways {
		ids[i] = g.ID
	}
	return cmp.Or(strings.Join(ids, ", "), "none")
}

// edge is where a provider is reached.
type edge struct {
	host, port string
	tls        bool
	roots      *x509.CertPool
}

func edgeOf(g *compose.Gateway, getenv func(string) (string, bool)) edge {
	r := &reading{getenv: getenv}
	switch g.Driver {
	case compose.SSH:
		return edge{host: r.text("connection.host", g.Connection.Host), port: strconv.Itoa(g.Connection.Port)}
	case compose.Cloudflare:
		return edge{host: "region1.v2.argotunnel.com", port: "7844"}
	default:
		e := edge{host: "connect.ngrok-agent.com", port: "443", tls: true}
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

// checking is a check of one port.
type checking struct {
	plan   plan
	driver tunnel.Driver
	tell   func(Step)
	failed int
}

// step does one thing, and tells how it went.
func (k *checking) step(ctx context.Context, name string, limit time.Duration, f func(ctx context.Context) (said string, err error)) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	said, err := f(ctx)
	s := Step{Port: k.plan.port, Name: name, Said: said, Took: time.Since(began)}
	if err != nil {
		k.failed++
		e := tunnel.Classify(err)
		s.Error, s.Fix = e.Message, e.Hint
	}
	k.tell(s)
	return err == nil
}

func (k *checking) walk(ctx context.Context, e edge) {
	k.step(ctx, "local port", stepTime, func(ctx context.Context) (string, error) {
		if err := dialTarget(k.plan.target)(ctx); err != nil {
			return "", &tunnel.Error{Message: err.Error(), Hint: "start what is to listen there; visitors get 502 until then", Err: err}
		}
		return k.plan.target + " answers", nil
	})
	addr := net.JoinHostPort(e.host, e.port)
	reached := k.step(ctx, "DNS", stepTime, func(ctx context.Context) (string, error) {
		found, err := net.DefaultResolver.LookupHost(ctx, e.host)
		if err != nil {
			return "", &tunnel.Error{Message: e.host + " is not known", Hint: "check the name, and this machine's DNS (/etc/resolv.conf)", Err: err}
		}
		return fmt.Sprintf("%s is %s", e.host, found[0]), nil
	}) && k.step(ctx, "TCP", stepTime, func(ctx context.Context) (string, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return "", &tunnel.Error{Message: addr + " cannot be reached: " + err.Error(), Hint: "a firewall may close the way out, or nothing listens there", Err: err}
		}
		_ = c.Close()
		return addr + " takes connections", nil
	})
	if reached && e.tls {
		reached = k.step(ctx, "TLS", stepTime, func(ctx context.Context) (string, error) {
			c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: e.roots, ServerName: e.host, MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", addr)
			if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown && e.roots == nil {
				return "its authority is not the system's; the driver brings ngrok's own", nil
			}
			if err != nil {
				return "", &tunnel.Error{Message: "TLS with " + addr + " fails: " + err.Error(), Hint: "something may intercept TLS here: set connect_ca to its authority", Err: err}
			}
			_ = c.Close()
			return "the certificate is trusted", nil
		})
	}
	if reached {
		k.open(ctx)
	}
}

// open opens the tunnel and asks through it.
func (k *checking) open(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	secret := tunnel.NewSecret()
	transport := tunnel.NewTargetTransport()
	defer transport.CloseIdleConnections()
	proxy := tunnel.NewProxy(tunnel.ProxyConfig{Target: k.plan.target, Scheme: k.plan.scheme, Dial: transport, Secret: secret, Trust: k.plan.trust, Proto: k.plan.proto})
	seen, ended := make(chan tunnel.Observation, 1), make(chan error, 1)
	go func() {
		ended <- k.driver.Run(ctx, tunnel.Spec{
			Gateway: k.plan.id, Port: k.plan.port, Remote: k.plan.remote, Name: k.plan.name, Target: k.plan.target, Serve: proxy.Serve,
		}, func(o tunnel.Observation) {
			select {
			case seen <- o:
			case <-ctx.Done():
			}
		})
	}()
	over := false
	defer func() {
		cancel()
		if !over {
			<-ended
		}
	}()
	public := ""
	opened := k.step(ctx, "sign in and bind", openTime, func(ctx context.Context) (string, error) {
		select {
		case o := <-seen:
			if o.Err != nil {
				return "", o.Err
			}
			public = o.URL
			return public, nil
		case err := <-ended:
			over = true
			return "", cmp.Or(err, errors.New("the tunnel was closed at once"))
		case <-ctx.Done():
			return "", &tunnel.Error{Message: "the tunnel did not open within " + openTime.String()}
		}
	})
	if !opened {
		return
	}
	k.step(ctx, "public URL", proveTime, func(ctx context.Context) (string, error) {
		prober := tunnel.NewProber(secret, k.plan.hint, nil)
		probe := prober.Probe
		if !k.plan.through {
			probe = prober.Answers
		}
		pause := time.NewTicker(time.Second)
		defer pause.Stop()
		for {
			err := probe(ctx, public)
			if err == nil {
				return "a request through " + public + " came back", nil
			}
			if u, bad := url.Parse(public); bad == nil && net.ParseIP(u.Hostname()) != nil {
				return "", err // no name that could take its time
			}
			select {
			case <-ctx.Done():
				return "", err
			case <-pause.C:
			}
		}
	})
}
