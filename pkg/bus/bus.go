package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Options say how to connect.
type Options struct {
	// URL of the server, several separated by commas; not used with InProcess.
	URL string
	// InProcess connects without a socket to a server in this process (*server.Server is one).
	InProcess interface {
		InProcessConn() (net.Conn, error)
	}
	Name string // shown in the server's list of connections
	Login
	// Domain is that of the JetStream to work with, where it is not the server's own.
	Domain         string
	Logger         *slog.Logger
	PublishTimeout time.Duration // how long Publish and reads wait for an answer; default 5 s
	MaxPending     int           // publishes and reads waiting for an answer at once; default 16384
	KeepCallbacks  time.Duration // TTL of callbacks that are published here; default 72 h
	// MaxInline is the most that a payload has in a message, in bytes: what is larger goes to the object store. Default
	// 512 KiB; where the server takes less, it is less.
	MaxInline int
	// MaxObject is the most that is kept of one payload or run document, in bytes; default 64 MiB. Whoever reads one holds
	// it in memory.
	MaxObject int
	// Probe lists the subjects that Ready asks about: those that this service publishes on.
	// Default: a callback and a run request.
	Probe []string
}

// Defaults of Options.
const (
	DefaultMaxInline = 512 << 10
	DefaultMaxObject = 64 << 20
)

// Bus is a connection. It is safe for concurrent use.
type Bus struct {
	o         Options
	log       *slog.Logger
	nc        *nats.Conn
	js        jetstream.JetStream
	mux       *mux
	apiPrefix string // what the subjects of JetStream's API begin with

	callbackTTL string
	inline      atomic.Int64 // see Inline
	streams     topology
	layout      atomic.Pointer[Layout] // of Provision: how a consumer that was deleted is made anew
	refused     atomic.Pointer[string] // the server's last permissions violation
	checkOnly   atomic.Bool            // by Check: this user makes nothing
	failures    failures
	parts       chan struct{} // a place for each part of an object that is on its way

	mu          sync.Mutex
	reconnected chan struct{} // closed and replaced at each reconnect
	forbidden   chan struct{} // closed and replaced at each permissions violation
	closed      chan struct{}
}

// Connect connects. While no server answers it tries again until ctx ends (once, if ctx has no deadline), and then
// gives one fault.Unavailable with a hint. After that it reconnects for ever.
func Connect(ctx context.Context, o Options) (*Bus, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.PublishTimeout == 0 {
		o.PublishTimeout = 5 * time.Second
	}
	if o.MaxPending == 0 {
		o.MaxPending = 1 << 14
	}
	if o.KeepCallbacks == 0 {
		o.KeepCallbacks = 72 * time.Hour
	}
	if o.MaxInline == 0 {
		o.MaxInline = DefaultMaxInline
	}
	if o.MaxObject == 0 {
		o.MaxObject = DefaultMaxObject
	}
	if o.URL == "" {
		o.URL = nats.DefaultURL
	}
	if len(o.Probe) == 0 {
		o.Probe = []string{subject.Callback("probe"), subject.RunRequest("probe")}
	}
	b := &Bus{
		o: o, log: o.Logger, callbackTTL: seconds(o.KeepCallbacks), parts: make(chan struct{}, partsInFlight),
		reconnected: make(chan struct{}), forbidden: make(chan struct{}), closed: make(chan struct{}),
	}
	nc, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	b.nc = nc
	b.measure(nc.MaxPayload())
	b.apiPrefix = "$JS.API."
	if o.Domain != "" {
		b.apiPrefix = "$JS." + o.Domain + ".API."
	}
	if b.js, err = jetstream.NewWithAPIPrefix(nc, strings.TrimSuffix(b.apiPrefix, ".")); err == nil {
		b.mux, err = newMux(nc, o.MaxPending)
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("set up the connection to NATS: %w", err)
	}
	nc.SetDisconnectErrHandler(func(_ *nats.Conn, err error) {
		b.mux.fail(errDisconnected)
		if err != nil {
			b.log.Warn("lost the connection to NATS; reconnecting", slog.Any("error", err))
		}
	})
	return b, nil
}

const (
	dialTimeout   = 2 * time.Second
	redialAfter   = 200 * time.Millisecond
	maxRedialWait = 2 * time.Second
)

func (b *Bus) dial(ctx context.Context) (*nats.Conn, error) {
	opts := b.natsOptions()
	login, err := b.o.options()
	if err != nil {
		return nil, err
	}
	opts = append(opts, login...)
	_, again := ctx.Deadline()
	for {
		nc, err := nats.Connect(b.o.URL, opts...)
		if err == nil {
			return nc, nil
		}
		where := "NATS at " + Redacted(b.o.URL)
		if b.o.InProcess != nil {
			where = "the NATS in this process"
		}
		if unreadable(err) { // the error quotes the address, password and all
			return nil, fault.New(fault.Invalid, "the address of "+where+" cannot be read",
				"write nats://HOST:PORT, and percent-encode what is special in a user or password, or give these as nats.user and nats.password")
		}
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) {
			return nil, fault.Wrap(err, fault.Unauthorized, where+" refuses these credentials",
				"check the user and password, or the file of credentials, that NATS is given (nats.user, nats.password, nats.credentials)")
		}
		if distrusted(err) {
			return nil, fault.Wrap(err, fault.Unauthorized, "no trust between us and "+where,
				"name the authority of its certificate (nats.ca_file), and a certificate of ours where it asks for one")
		}
		if again {
			select {
			case <-time.After(redialAfter):
				continue
			case <-ctx.Done():
			}
		}
		return nil, fault.Wrap(err, fault.Unavailable, "cannot connect to "+where, "start a nats-server with JetStream there, or name another with --nats URL")
	}
}

func (b *Bus) natsOptions() []nats.Option {
	var once sync.Once
	opts := []nats.Option{
		nats.Name(b.o.Name),
		nats.Timeout(dialTimeout),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a server that is being reconfigured
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			return min(maxRedialWait, 50*time.Millisecond<<min(attempts, 6))
		}),
		// Nothing is buffered while disconnected: who publishes then is told at once.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.log.Info("connected to NATS again", slog.String("url", nc.ConnectedUrlRedacted()))
			b.streams.forget()
			b.measure(nc.MaxPayload())
			b.mu.Lock()
			close(b.reconnected)
			b.reconnected = make(chan struct{})
			b.mu.Unlock()
		}),
		nats.ClosedHandler(func(*nats.Conn) { once.Do(func() { close(b.closed) }) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				b.refuse(err.Error())
			}
			attrs := []any{slog.Any("error", err)}
			if sub != nil {
				attrs = append(attrs, slog.String("subject", sub.Subject))
			}
			b.log.Warn("NATS reports an error", attrs...)
		}),
	}
	if b.o.InProcess != nil {
		opts = append(opts, nats.InProcessServer(b.o.InProcess))
	}
	return opts
}

// Close sends what is left and disconnects. Consume and Subscribe must have ended before.
func (b *Bus) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.o.PublishTimeout)
	defer cancel()
	var err error
	if b.nc.IsConnected() {
		err = b.nc.FlushWithContext(ctx)
	}
	b.nc.Close()
	b.mux.close()
	select {
	case <-b.closed:
	case <-ctx.Done():
		err = errors.Join(err, context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("close the connection to NATS: %w", err)
	}
	return nil
}

// Connected tells whether the connection stands at this moment.
func (b *Bus) Connected() bool { return b.nc.IsConnected() }

// Ready tells whether JetStream would take a message on each of Options.Probe. It stores nothing: it sends
// a message that the stream has to refuse.
func (b *Bus) Ready(ctx context.Context) error {
	deadline := time.Now().Add(b.o.PublishTimeout)
	for _, s := range b.o.Probe {
		m := &nats.Msg{Subject: s, Header: nats.Header{hdrExpectedStream: {"none"}}}
		a, err := b.mux.ask(ctx, m, deadline)
		if err != nil {
			return b.unavailable(err, s)
		}
		if _, err = parseAck(a); !isAPI(err, codeStreamMismatch) {
			if err == nil {
				err = errors.New("the probe was taken for a message")
			}
			return b.unavailable(err, s)
		}
	}
	return nil
}

// unavailable says that JetStream did not take or give what was asked for on subject.
func (b *Bus) unavailable(err error, subj string) error {
	switch {
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, errDisconnected):
		return fault.Wrap(err, fault.Unavailable, "not connected to NATS ("+subj+")", "check that NATS runs; the connection is made again by itself")
	case errors.Is(err, errNoStream):
		return fault.Wrap(err, fault.Unavailable, "no stream takes "+subj, "run `switchback provision`, or wait until the stream has a leader")
	case errors.Is(err, errNoAnswer):
		if r := b.refused.Load(); r != nil && strings.Contains(*r, strconv.Quote(subj)) {
			return fault.Wrap(errors.New(*r), fault.Forbidden, "NATS forbids "+subj, "grant this user the subject (deploy/nats)")
		}
		return fault.Wrap(err, fault.Unavailable, "JetStream did not answer on "+subj, "see the NATS server's log and load")
	default:
		return fault.Wrap(err, fault.Unavailable, "JetStream did not carry out "+subj, "see the NATS server's log")
	}
}

// onReconnect gives a channel that is closed at the next reconnect.
func (b *Bus) onReconnect() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reconnected
}
