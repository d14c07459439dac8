package sshtest

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Path is a way to a server that can be frozen, so that nothing passes and no end is told, and cut.
type Path struct {
	Addr string
	Port int

	l  net.Listener
	to string

	mu     sync.Mutex
	thawed chan struct{} // closed while bytes pass
	conns  map[net.Conn]bool
	closed bool
	work   sync.WaitGroup
}

// StartPath leads from a port of 127.0.0.1 to an address.
func StartPath(t testing.TB, to string) *Path {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Path{l: l, to: to, Addr: l.Addr().String(), thawed: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(p.thawed)
	_, port, _ := net.SplitHostPort(p.Addr)
	p.Port, _ = strconv.Atoi(port)
	p.work.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Thaw()
		p.Cut()
		p.work.Wait()
	})
	return p
}

func (p *Path) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.serve(c) })
	}
}

func (p *Path) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	far, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.to)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.conns[c], p.conns[far] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, far}, {far, c}} {
		both.Go(func() {
			_, _ = io.Copy(&gated{way[1], p}, way[0])
			_, _ = c.Close(), far.Close()
		})
	}
	both.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, far)
	p.mu.Unlock()
}

// gated writes only while bytes pass.
type gated struct {
	io.Writer
	p *Path
}

func (g *gated) Write(b []byte) (int, error) {
	g.p.mu.Lock()
	open := g.p.thawed
	g.p.mu.Unlock()
	<-open
	return g.Writer.Write(b)
}

// Freeze lets nothing pass any more.
func (p *Path) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thawed = make(chan struct{})
}

// Thaw lets everything pass again.
func (p *Path) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.thawed:
	default:
		close(p.thawed)
	}
}

// Cut ends the connections that there are.
func (p *Path) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}
