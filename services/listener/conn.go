package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// conns are the open connections of one server, each with its goroutine.
type conns struct {
	wait     sync.WaitGroup
	stopping atomic.Bool

	mu   sync.Mutex
	open map[*conn]struct{}
}

// conn is a connection that knows whether a request is being read or handled on it.
type conn struct {
	net.Conn
	busy   atomic.Bool
	linger atomic.Bool

	// Of the goroutine that serves it alone.
	reading, writing deadline
}

// accept takes connections until the socket is closed and calls serve for each in its own goroutine.
func (s *conns) accept(ctx context.Context, socket net.Listener, serve func(c *conn)) error {
	var pause time.Duration
	for {
		c, err := socket.Accept()
		switch {
		case err == nil:
			pause = 0
			s.start(&conn{Conn: c}, serve)
		case errors.Is(err, net.ErrClosed):
			return nil
		case passing(err):
			// Too many open files, mostly: it passes when connections end.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		default:
			return err
		}
	}
}

// passing tells whether accepting will work again.
func passing(err error) bool {
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (s *conns) start(c *conn, serve func(c *conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		_ = c.Close() // it came too late to be answered
		return
	}
	if s.open == nil {
		s.open = map[*conn]struct{}{}
	}
	s.open[c] = struct{}{}
	s.wait.Go(func() {
		defer s.ended(c)
		serve(c)
	})
}

func (s *conns) ended(c *conn) {
	_ = c.Conn.Close() // closed by the server already, unless it panicked
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// changed is told by the server when a request begins and ends. While stopping, a connection without one is closed.
func (s *conns) changed(nc net.Conn, state fasthttp.ConnState) {
	c := unwrap(nc)
	if c == nil {
		return
	}
	switch state {
	case fasthttp.StateActive:
		c.busy.Store(true)
	case fasthttp.StateIdle:
		c.busy.Store(false)
		if s.stopping.Load() {
			_ = c.Conn.Close()
		}
	default:
	}
}

// stop closes the connections without a request and waits for the others. When ctx ends before that, it calls abandon,
// leaves the handlers a moment to answer, and closes what is left.
func (s *conns) stop(ctx context.Context, abandon func()) {
	s.each(func(c *conn) {
		if !c.busy.Load() {
			_ = c.Conn.Close()
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.wait.Wait()
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	abandon()
	last := time.NewTimer(lastWords)
	defer last.Stop()
	select {
	case <-done:
	case <-last.C:
		s.each(func(c *conn) { _ = c.Conn.Close() })
		<-done
	}
}

// each holds off new connections from now on.
func (s *conns) each(f func(c *conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping.Store(true)
	for c := range s.open {
		f(c)
	}
}

const (
	// lastWords is how long abandoned requests may take to answer.
	lastWords = time.Second
	// lingering is how long a client may go on sending what is not read any more.
	lingering = 2 * time.Second
)

// Close closes the connection. One that was refused in the middle of its request is read to its end first, within
// bounds: closing it at once would reset it, and the client might never see the answer.
func (c *conn) Close() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok && c.linger.Load() {
		_ = tcp.SetReadDeadline(time.Now().Add(lingering))
		if tcp.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(tcp, 64<<20))
		}
	}
	return c.Conn.Close()
}

// unwrap finds our connection below TLS.
func unwrap(c net.Conn) *conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	ours, _ := c.(*conn)
	return ours
}
