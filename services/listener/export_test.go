package listener

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
)

// NewGate gives the methods of a gate.
func NewGate(slots, length int, timeout time.Duration) (enter func(context.Context) error, leave func()) {
	g := newGate(slots, length, timeout)
	return g.enter, g.leave
}

// NewConn is a connection with the deadlines of a listener's.
func NewConn(c net.Conn) net.Conn { return &conn{Conn: c} }

// Forwarded is forwarded.
var Forwarded = forwarded

// GoodTrace is goodTrace.
var GoodTrace = goodTrace

// Certificate gives the TLS configuration of a server as it is at a time.
func Certificate(files *compose.TLS, log *slog.Logger) (func(time.Time) (*tls.Config, error), error) {
	k := &keeper{files: *files, log: log}
	_, err := k.current(time.Now())
	return k.current, err
}
