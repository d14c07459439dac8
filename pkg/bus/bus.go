package bus

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Options say how to connect.
type Options struct {
	// URL of the server, several separated by commas; not used with InProcess.
	URL string
	// InProcess connects without a socket to a server in this process (*server.Server is one).
	InProcess interface {
		InProcessConn() (net.Conn, error)
	}
	Name            string // shown in the server's list of connections
	CredentialsFile string
	Logger          *slog.Logger
	PublishTimeout  time.Duration // how long Publish waits for an answer; default 5 s
	MaxPending      int           // publishes and requests waiting for an answer at once; default 65536
	KeepCallbacks   time.Duration // TTL of callbacks that are published here; default 72 h
	// Probe lists the subjects that Ready asks about: those that this service publishes on.
	// Default: a callback and a run request.
	Probe []string
}

// Bus is a connection. It is safe for concurrent use.
type Bus struct {
	o  Options
	nc *nats.Conn
	js jetstream.JetStream
}

// Connect connects. When no server can be reached before ctx ends, it says so in one
// fault.Unavailable with a hint; after that it reconnects for ever.
func Connect(ctx context.Context, o Options) (*Bus, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.PublishTimeout == 0 {
		o.PublishTimeout = 5 * time.Second
	}
	if o.MaxPending == 0 {
		o.MaxPending = 1 << 16
	}
	if o.KeepCallbacks == 0 {
		o.KeepCallbacks = 72 * time.Hour
	}
	opts := []nats.Option{nats.Name(o.Name), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1)}
	if o.InProcess != nil {
		opts = append(opts, nats.InProcessServer(o.InProcess))
	}
	if o.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(o.CredentialsFile))
	}
	nc, err := nats.Connect(o.URL, opts...)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "cannot connect to NATS at "+o.URL, "start nats-server with JetStream there, or give its address with --nats")
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &Bus{o: o, nc: nc, js: js}, nil
}

// Close sends what is left and disconnects. Consume and Subscribe must have ended before.
func (b *Bus) Close(ctx context.Context) error {
	err := b.nc.FlushWithContext(ctx)
	b.nc.Close()
	return err
}

// Ready tells whether the connection is up and JetStream would take our messages.
func (b *Bus) Ready(ctx context.Context) error {
	return b.nc.FlushWithContext(ctx)
}
