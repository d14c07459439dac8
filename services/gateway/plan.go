package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/gateway/docker"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// plan is one tunnel as the compose file wants it: one local port.
type plan struct {
	id      string // of its gateway
	driver  string
	port    int
	remote  int
	name    string // host name asked for at the other end
	target  string // host:port
	scheme  string // that the target speaks
	onURL   string
	trust   bool // what the tunnel's other end says of the visitor
	proto   string
	policy  tunnel.Policy
	asOne   bool   // signing in and binding are one request, of which only the whole result is told
	through bool   // what comes in passes this process, so that it can answer probes
	hint    string // for a public URL that does not answer
}

// group is the tunnels that share a connection or an account: they are held by one process together.
type group struct {
	key    string // equal for equal settings; holds no secret in the clear
	lease  string // id of its first gateway
	all    bool   // any number of processes may hold it
	plans  []plan
	driver func(log *slog.Logger) tunnel.Driver
	// inside, when not nil, is a container that holds the tunnels in place of this process.
	inside *docker.Spec
}

// planner reads the gateways of a document.
type planner struct {
	doc    *compose.Document
	getenv func(string) (string, bool)
	config Config
	inside containers
	groups []*group
}

// planned gives the groups of a document's gateways; everything that is wrong at once.
func planned(doc *compose.Document, getenv func(string) (string, bool), c Config, inside containers) ([]*group, error) {
	p := &planner{doc: doc, getenv: getenv, config: c, inside: inside}
	var errs []error
	for _, g := range doc.Gateways {
		if len(c.Gateways) > 0 && !slices.Contains(c.Gateways, g.ID) {
			continue
		}
		if err := p.add(g); err != nil {
			errs = append(errs, located(g, err))
		}
	}
	return p.groups, errors.Join(errs...)
}

// located says where in the file the gateway is that something is wrong with.
func located(g *compose.Gateway, err error) error {
	where := "gateway " + g.ID
	if g.Pos.File != "" || g.Pos.Line > 0 {
		where = fmt.Sprintf("%s:%d: %s", g.Pos.File, g.Pos.Line, where)
	}
	if e, ok := errors.AsType[*tunnel.Error](err); ok {
		return fault.New(fault.Invalid, where+": "+e.Message, e.Hint)
	}
	return fault.Wrap(err, fault.Invalid, where, "")
}

func (p *planner) add(g *compose.Gateway) error {
	if g.Runtime == runtimeDocker && g.Driver != compose.Cloudflare {
		return p.contain(g)
	}
	r := &reading{getenv: p.getenv}
	switch g.Driver {
	case compose.SSH:
		return p.addSSH(g, r)
	case compose.Ngrok:
		return p.addNgrok(g, r)
	case compose.Cloudflare:
		return p.addCloudflare(g, r)
	default:
		return fmt.Errorf("driver %q is not known", g.Driver)
	}
}

// plan is what all drivers have in common.
func (p *planner) plan(g *compose.Gateway, f compose.PortForward) plan {
	host := g.Target
	if f.Host != "" {
		host = f.Host
	}
	if host == "localhost" {
		host = cmp.Or(p.config.Target, host)
	}
	out := plan{
		id: g.ID, driver: g.Driver, port: f.Local, remote: f.Remote, scheme: "http", onURL: g.OnURL, through: true, trust: true, proto: "https",
		target: net.JoinHostPort(host, strconv.Itoa(f.Local)),
	}
	for _, l := range p.doc.Listeners {
		if l.Port == f.Local && l.TLS != nil {
			out.scheme = "https"
		}
	}
	if c := p.doc.Controller; c != nil && c.Port == f.Local && c.TLS != nil {
		out.scheme = "https"
	}
	return out
}

// join adds a plan to the group of its settings, or makes that.
func (p *planner) join(key, lease string, driver func(*slog.Logger) tunnel.Driver, plans ...plan) *group {
	for _, g := range p.groups {
		if g.key == key {
			g.plans = append(g.plans, plans...)
			return g
		}
	}
	g := &group{key: key, lease: lease, driver: driver, plans: plans}
	p.groups = append(p.groups, g)
	return g
}

// keyOf makes a group's key of its settings. What is secret in them goes through a hash.
func keyOf(settings any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%#v", settings))
	return hex.EncodeToString(sum[:8])
}

// reading evaluates a gateway's templates; the first that fails is its error.
type reading struct {
	getenv func(string) (string, bool)
	err    error
}

// Resolve gives a variable of the environment.
func (r *reading) Resolve(ref *expr.Reference) (any, error) {
	if ref.Source != "env" || len(ref.Path) != 1 {
		return nil, fmt.Errorf("${%s…} is not known here", ref.Source)
	}
	if v, ok := r.getenv(ref.Path[0].Name); ok {
		return v, nil
	}
	return nil, nil
}

// text evaluates a template; one that was not given is "". One that was given and is empty is an error.
func (r *reading) text(name string, t *expr.Template) string {
	if t == nil || r.err != nil {
		return ""
	}
	v, err := t.Eval(r)
	if err != nil {
		r.err = fmt.Errorf("%s: %w", name, err)
		return ""
	}
	s := value.Text(v)
	if s == "" {
		hint := "give it a value"
		for _, ref := range t.References() {
			if ref.Source == "env" && len(ref.Path) == 1 {
				hint = "set the variable " + ref.Path[0].Name
			}
		}
		r.err = &tunnel.Error{Class: tunnel.Config, Message: name + " is empty", Hint: hint}
	}
	return s
}

// file is text, with ~ for the home folder.
func (r *reading) file(name string, t *expr.Template) string {
	s := r.text(name, t)
	if rest, ok := strings.CutPrefix(s, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return s
}

// dialTarget looks whether something listens at the target.
func dialTarget(target string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
		if err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("%s does not answer", target)
			}
			if host, _, _ := net.SplitHostPort(target); host == "host.docker.internal" {
				return fmt.Errorf("nothing listens on %s: what listens on the machine's loopback alone is not reached from a container", target)
			}
			return fmt.Errorf("nothing listens on %s", target)
		}
		_ = c.Close()
		return nil
	}
}

// fingerprint tells whether two plans are the same.
func (p *plan) fingerprint(groupKey string) string { return keyOf(fmt.Sprintf("%s %+v", groupKey, *p)) }

func (g *group) ids() []string {
	var ids []string
	for i := range g.plans {
		if !slices.Contains(ids, g.plans[i].id) {
			ids = append(ids, g.plans[i].id)
		}
	}
	return ids
}

// leaseTTL is at least what the server takes.
const leastTTL = 2 * time.Second
