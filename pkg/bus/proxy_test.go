package bus_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy is a TCP proxy that can hold back what the server says, and break its connections.
type proxy struct {
	t      *testing.T
	l      net.Listener
	server string
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	hold  bool
}

func newProxy(t *testing.T, url string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, l: l, server: strings.TrimPrefix(url, "nats://")}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.l.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.wg.Go(func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		})
		p.wg.Go(func() {
			_, _ = io.Copy(held{p, client}, server)
			_ = client.Close()
		})
	}
}

type held struct {
	p *proxy
	w io.Writer
}

func (h held) Write(b []byte) (int, error) {
	h.p.mu.Lock()
	hold := h.p.hold
	h.p.mu.Unlock()
	if hold {
		return len(b), nil // lost with the connection
	}
	return h.w.Write(b)
}

func (p *proxy) holdAnswers() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = true
}

// cut breaks all connections; new ones work.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns, p.hold = nil, false
}
