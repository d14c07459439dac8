// Package address resolves what a run hands out to the world: the public addresses of gateways and listeners, and variables of the environment.
package address

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/fault"
)

// Book knows the gateways' addresses as they are now. It is safe for concurrent use.
type Book struct {
	wait   time.Duration
	host   string // of listeners that have no other address; "": their own
	getenv func(string) (string, bool)

	mu       sync.Mutex
	gateways map[int]event.GatewayStatus
	changed  chan struct{} // closed and replaced at every change
}

// New gives an empty book. wait bounds how long a run waits for a gateway that is not up; host is where listeners are
// reached that have neither a public_url nor a gateway, "" where they are.
func New(getenv func(string) (string, bool), wait time.Duration, host string) *Book {
	return &Book{wait: wait, host: host, getenv: getenv, gateways: map[int]event.GatewayStatus{}, changed: make(chan struct{})}
}

// Set notes what a gateway says of its port.
func (b *Book) Set(s event.GatewayStatus) { b.change(func() { b.gateways[s.Port] = s }) }

// Update takes an entry of the bucket gateways: its key is the port.
func (b *Book) Update(key string, data []byte, deleted bool) error {
	port, err := strconv.Atoi(key)
	if err != nil {
		return fmt.Errorf("key %q is not a port", key)
	}
	if deleted {
		b.change(func() { delete(b.gateways, port) })
		return nil
	}
	var s event.GatewayStatus
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("status of gateway %d: %w", port, err)
	}
	s.Port = port
	b.Set(s)
	return nil
}

func (b *Book) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *Book) gateway(port int) (s event.GatewayStatus, ok bool, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok = b.gateways[port]
	return s, ok, b.changed
}

// For gives the resolver of a document's references.
func (b *Book) For(doc *compose.Document) *Resolver { return &Resolver{book: b, doc: doc} }

// Resolver resolves ${env…}, ${gateway…} and ${listener…} for one document.
type Resolver struct {
	book *Book
	doc  *compose.Document
}

// Resolve gives the value of a reference. A gateway that is not up yet is waited for, at most as long as the book says;
// then the error says what it is doing instead.
func (r *Resolver) Resolve(ctx context.Context, ref *expr.Reference) (any, error) {
	switch ref.Source {
	case "env":
		return r.env(ref)
	case "gateway":
		return r.gateway(ctx, ref)
	case "listener":
		return r.listener(ctx, ref)
	default:
		return nil, fmt.Errorf("%s is not known here", ref.Source)
	}
}

// Scope is the resolver as a scope, for as long as ctx.
func (r *Resolver) Scope(ctx context.Context) expr.Scope {
	return scope{ctx: ctx, resolver: r}
}

type scope struct {
	ctx      context.Context //nolint:containedctx // a template's scope has no context of its own
	resolver *Resolver
}

func (s scope) Resolve(ref *expr.Reference) (any, error) { return s.resolver.Resolve(s.ctx, ref) }

func (r *Resolver) env(ref *expr.Reference) (any, error) {
	if len(ref.Path) == 0 {
		return nil, nil
	}
	if v, ok := r.book.getenv(ref.Path[0].Name); ok {
		return v, nil
	}
	return nil, nil
}

func (r *Resolver) gateway(ctx context.Context, ref *expr.Reference) (any, error) {
	port, err := strconv.Atoi(ref.Arg)
	if err != nil {
		return nil, fmt.Errorf("gateway:%s: a gateway is named by its local port", ref.Arg)
	}
	if len(ref.Path) != 1 {
		return nil, fmt.Errorf("gateway:%d has public_url, public_address, port, driver and status", port)
	}
	switch field := ref.Path[0].Name; field {
	case "port":
		return int64(port), nil
	case "driver":
		if g := r.declared(port); g != nil {
			return g.Driver, nil
		}
		return nil, nil
	case "status":
		if s, ok, _ := r.book.gateway(port); ok {
			return s.Status, nil
		}
		return nil, nil
	case "public_url":
		return r.publicURL(ctx, port)
	case "public_address":
		if s, ok, _ := r.book.gateway(port); !ok || s.Status != event.GatewayUp || s.PublicAddress == "" {
			u, err := r.publicURL(ctx, port)
			if err != nil {
				return nil, err
			}
			if s, _, _ = r.book.gateway(port); s.PublicAddress == "" {
				_, address, _ := strings.Cut(u, "://")
				return address, nil
			}
		}
		s, _, _ := r.book.gateway(port)
		return s.PublicAddress, nil
	default:
		return nil, nil
	}
}

func (r *Resolver) declared(port int) *compose.Gateway {
	for _, g := range r.doc.Gateways {
		for _, p := range g.Ports {
			if p.Local == port {
				return g
			}
		}
	}
	return nil
}

// publicURL is the live URL of the gateway on port. Where no gateway process knows of the port, a listener there that
// has a public_url stands for it.
func (r *Resolver) publicURL(ctx context.Context, port int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.book.wait)
	defer cancel()
	for {
		s, ok, changed := r.book.gateway(port)
		if ok && s.Status == event.GatewayUp && s.PublicURL != "" {
			return strings.TrimSuffix(s.PublicURL, "/"), nil
		}
		if l := r.listenerOn(port); !ok && l != nil && l.PublicURL != "" {
			return l.PublicURL, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", r.notUp(port, s, ok)
		}
	}
}

func (r *Resolver) notUp(port int, s event.GatewayStatus, known bool) error {
	state := "no gateway process serves it"
	if known {
		state = "it is " + s.Status
		if s.Error != "" {
			state += ": " + s.Error
		}
	}
	return fault.New(fault.Unavailable,
		fmt.Sprintf("the gateway on port %d has no public URL after %s: %s", port, r.book.wait, state),
		fmt.Sprintf("start the gateway, or set public_url on the listener of port %d", port))
}

func (r *Resolver) listenerOn(port int) *compose.Listener {
	for _, l := range r.doc.Listeners {
		if l.Port == port {
			return l
		}
	}
	return nil
}

func (r *Resolver) listener(ctx context.Context, ref *expr.Reference) (any, error) {
	l := r.doc.Listener(ref.Arg)
	if l == nil {
		return nil, fmt.Errorf("no listener %q", ref.Arg)
	}
	if len(ref.Path) != 1 {
		return nil, nil
	}
	switch ref.Path[0].Name {
	case "id":
		return l.ID, nil
	case "port":
		return int64(l.Port), nil
	case "base_url":
		return r.base(ctx, l)
	case "url":
		base, err := r.base(ctx, l)
		if err != nil || len(l.Callbacks) == 0 {
			return base, err
		}
		return base + l.Callbacks[0].Path, nil
	default:
		return nil, nil
	}
}

// base is the listener's address without a path: as configured, else its gateway's, else its own, at the host of a proxy
// where there is one.
func (r *Resolver) base(ctx context.Context, l *compose.Listener) (string, error) {
	if l.PublicURL != "" {
		return l.PublicURL, nil
	}
	if r.declared(l.Port) != nil {
		return r.publicURL(ctx, l.Port)
	}
	scheme, host := "http", cmp.Or(r.book.host, l.Host)
	if l.TLS != nil {
		scheme = "https"
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(l.Port)), nil
}
