// Package ceiling is what Switchback is measured against: the same outside view of each job with nothing durable in it,
// or the durable store alone with nothing before it.
package ceiling

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// answer is what a listener answers to one callback.
const answer = `{"items":[{"id":"task-000000000000","outcome":"succeeded","duplicate":false}]}`

// Plain answers each request as a listener does and does nothing else: no parsing, no NATS.
type Plain struct {
	ctx    context.Context //nolint:containedctx // the life of the process; net/rpc methods are given none
	server *fasthttp.Server
	owned  sync.WaitGroup
}

// NewPlain makes one that Start starts.
func NewPlain(ctx context.Context) *Plain { return &Plain{ctx: ctx} }

// Address says where a server listens.
type Address struct{ HostPort string }

// Start listens on a free port of the loopback interface.
func (p *Plain) Start(_ struct{}, address *Address) error {
	return p.serve(func(rc *fasthttp.RequestCtx) {
		rc.SetContentType("application/json")
		rc.SetBodyString(answer)
	}, address)
}

func (p *Plain) serve(handler fasthttp.RequestHandler, address *Address) error {
	listener, err := new(net.ListenConfig).Listen(p.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	p.server = &fasthttp.Server{NoDefaultServerHeader: true, Handler: handler}
	p.owned.Go(func() { _ = p.server.Serve(listener) })
	address.HostPort = listener.Addr().String()
	return nil
}

// Close ends it.
func (p *Plain) Close() error {
	if p.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := p.server.ShutdownWithContext(ctx)
	p.owned.Wait()
	if errors.Is(err, context.DeadlineExceeded) { // a client keeps its connections open: theirs to close
		return nil
	}
	return err
}
