package tunnel

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"
)

func insecureTarget() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true} //nolint:gosec // see NewTargetTransport
}

// timelyListener gives connections that keep deadlines. Those of ssh do not, and net/http relies on them to end a
// read: without, a connection could neither idle out nor be shut down.
type timelyListener struct{ net.Listener }

func (l *timelyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if c.SetReadDeadline(time.Time{}) == nil {
		return c, nil
	}
	return timely(c), nil
}

// timely puts a pipe in front of c.
func timely(c net.Conn) net.Conn {
	near, far := net.Pipe()
	var copies sync.WaitGroup
	copies.Go(func() {
		_, _ = io.Copy(far, c) // its end is told by the close
		_ = far.Close()
	})
	copies.Go(func() {
		_, _ = io.Copy(c, far)
		_ = c.Close()
	})
	return &pipeConn{Conn: near, far: c}
}

// pipeConn is the near end of a pipe, with the addresses of the connection behind it.
type pipeConn struct {
	net.Conn
	far net.Conn
}

func (c *pipeConn) LocalAddr() net.Addr  { return c.far.LocalAddr() }
func (c *pipeConn) RemoteAddr() net.Addr { return c.far.RemoteAddr() }
