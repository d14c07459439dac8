// Package ssh forwards ports of an SSH server to this machine: a tunnel.Driver.
package ssh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// Settings are a server, an account, and how to treat them.
type Settings struct {
	Host       string
	Port       int
	Username   string
	Keyfile    string // one of Keyfile, Password and Agent
	Passphrase string
	Password   string
	Agent      string // path of the agent's socket
	KnownHosts string // file; empty: those of the account and of the machine
	// InsecureIgnoreHostKey takes any server for the right one.
	InsecureIgnoreHostKey bool

	PublicURL   string // the address that people use; empty: http://HOST:REMOTE
	FromSession bool   // the server says the URL in a session, as localhost.run does

	Keepalive time.Duration // between two questions whether the server is there; zero: 10 s
	// StepTime bounds every step of connecting: dialling, the handshake, a forward. Zero: 15 s.
	StepTime time.Duration
	Log      *slog.Logger
}

const (
	defaultKeepalive = 10 * time.Second
	defaultStep      = 15 * time.Second
	// Missed answers to keepalives that end a connection.
	missedMost = 2
)

// Driver forwards any number of ports over one connection, which lives as long as one of them does.
type Driver struct {
	s Settings

	mu     sync.Mutex
	shared *shared
}

// New makes a Driver. It connects when the first tunnel runs.
func New(s Settings) *Driver {
	if s.Keepalive <= 0 {
		s.Keepalive = defaultKeepalive
	}
	if s.StepTime <= 0 {
		s.StepTime = defaultStep
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.InsecureIgnoreHostKey {
		s.Log.Warn("INSECURE: the host key of the SSH server is not checked; anybody in between can read and change what passes",
			slog.String("host", s.Host))
	}
	return &Driver{s: s}
}

// shared is one connection and those who use it.
type shared struct {
	users  int
	cancel context.CancelFunc
	ready  chan struct{} // closed when conn or err is set
	conn   *connection
	err    error
	ended  chan struct{} // closed when everything of it has ended
}

// acquire gives the connection, made if need be. The caller calls release.
func (d *Driver) acquire(ctx context.Context) (*connection, func(), error) {
	d.mu.Lock()
	s := d.shared
	if s == nil {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		s = &shared{cancel: cancel, ready: make(chan struct{}), ended: make(chan struct{})}
		d.shared = s
		go d.connect(own, s)
	}
	s.users++
	d.mu.Unlock()
	release := func() { d.release(s) }
	select {
	case <-s.ready:
	case <-ctx.Done():
		release()
		return nil, nil, context.Cause(ctx)
	}
	if s.err != nil {
		release()
		return nil, nil, s.err
	}
	return s.conn, release, nil
}

// connect makes the connection and waits for its end.
func (d *Driver) connect(ctx context.Context, s *shared) {
	defer close(s.ended)
	s.conn, s.err = dial(ctx, &d.s)
	if s.err != nil {
		d.forget(s)
		close(s.ready)
		return
	}
	close(s.ready)
	s.conn.run(ctx, d.s.Keepalive)
	d.forget(s)
}

// forget makes the next user connect anew.
func (d *Driver) forget(s *shared) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shared == s {
		d.shared = nil
	}
}

// release ends the connection with its last user.
func (d *Driver) release(s *shared) {
	d.mu.Lock()
	s.users--
	last := s.users == 0
	if last && d.shared == s {
		d.shared = nil
	}
	d.mu.Unlock()
	if last {
		s.cancel()
		<-s.ended
		if s.conn != nil {
			s.conn.work.Wait()
		}
	}
}

// Run forwards one port until ctx ends or the connection does.
func (d *Driver) Run(ctx context.Context, spec tunnel.Spec, report func(tunnel.Observation)) error {
	c, release, err := d.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	report(tunnel.Observation{SignedIn: d.s.Username + " is let in by " + proof(&d.s)})
	l, err := c.listen(ctx, d.bind(spec), d.s.StepTime)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- spec.Serve(serving, l) }()
	defer func() {
		stop()
		<-served
	}()
	url, address, err := d.address(ctx, c, l)
	if err != nil {
		return err
	}
	if url != "" {
		report(tunnel.Observation{URL: url, Address: address})
	}
	var announced <-chan string
	var late <-chan time.Time
	if d.s.FromSession {
		announced, late = c.urls, time.After(announceTime)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.done:
			return c.err
		case <-late:
			return errNotAnnounced
		case u := <-announced:
			late = nil
			report(tunnel.Observation{URL: u, Address: hostPort(u)})
		case err := <-served:
			served <- nil // for the deferred wait
			if ctx.Err() != nil {
				return nil
			}
			return c.forwardEnded(err, spec)
		}
	}
}

// announceTime is how long a server may take to say the URL.
const announceTime = 30 * time.Second

var errNotAnnounced = &tunnel.Error{
	Class: tunnel.Remote, Message: "the SSH server has announced no URL within " + announceTime.String(),
	Hint: "url_from: session is for services such as localhost.run; leave it out for a server of your own",
}

// forwardEnded tells why a forward has ended: mostly because the connection has, which is noticed a moment later.
func (c *connection) forwardEnded(err error, spec tunnel.Spec) error {
	select {
	case <-c.done:
		return c.err
	case <-time.After(time.Second):
		return &tunnel.Error{Class: tunnel.Network, Message: fmt.Sprintf("the forward of port %d has ended: %v", spec.Port, err), Err: err}
	}
}

// bind is the address to ask the server for. The services that announce URLs want the port that their URL has.
func (d *Driver) bind(spec tunnel.Spec) string {
	port := spec.Remote
	if d.s.FromSession && port == spec.Port {
		port = 80
	}
	return ":" + strconv.Itoa(port)
}

// address gives where the forward is reached, for a server that does not announce it.
func (d *Driver) address(ctx context.Context, c *connection, l net.Listener) (url, address string, err error) {
	if d.s.FromSession {
		return "", "", c.openSession(ctx, d.s.StepTime)
	}
	port := 0
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		port = a.Port
	}
	address = net.JoinHostPort(d.s.Host, strconv.Itoa(port))
	if d.s.PublicURL != "" {
		return strings.TrimSuffix(d.s.PublicURL, "/"), address, nil
	}
	return "http://" + address, address, nil
}

// hostPort is where a URL leads to.
func hostPort(url string) string {
	scheme, host, _ := strings.Cut(url, "://")
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	if scheme == "https" {
		return net.JoinHostPort(host, "443")
	}
	return net.JoinHostPort(host, "80")
}

// listen asks the server for a forward.
func (c *connection) listen(ctx context.Context, bind string, step time.Duration) (net.Listener, error) {
	type result struct {
		l   net.Listener
		err error
	}
	asked := make(chan result, 1)
	go func() { // the library's call knows no deadline; it ends with the connection at the latest
		l, err := c.client.Listen("tcp", bind)
		asked <- result{l, err}
	}()
	timer := time.NewTimer(step)
	defer timer.Stop()
	var err error
	select {
	case r := <-asked:
		if r.err == nil {
			return &listener{Listener: r.l, c: c}, nil
		}
		return nil, refused(r.err, bind)
	case <-timer.C:
		err = &tunnel.Error{Class: tunnel.Network, Message: "the SSH server does not answer the request to forward " + bind + " within " + step.String()}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.end(err) // frees the call
	if r := <-asked; r.l != nil {
		_ = r.l.Close()
	}
	return nil, err
}

// refused explains a forward that was denied: the protocol gives no reason.
func refused(err error, bind string) error {
	if strings.Contains(err.Error(), "denied by peer") {
		return &tunnel.Error{
			Class: tunnel.Conflict, Err: err,
			Message: "the SSH server refuses to listen on port " + strings.TrimPrefix(bind, ":") + " (tcpip-forward request denied by peer)",
			Hint: "one of: the port is taken, perhaps still by our own last connection (set ClientAliveInterval 15 in sshd_config); " +
				"AllowTcpForwarding no; PermitListen without this port; a port below 1024 without root",
		}
	}
	return &tunnel.Error{Class: tunnel.Network, Message: "cannot forward " + bind + ": " + err.Error(), Err: err}
}

// listener is a forward whose Close does not wait for a server that has gone quiet.
type listener struct {
	net.Listener
	c *connection
}

// closeTime is how long Close waits for the server to give the port back.
const closeTime = 2 * time.Second

func (l *listener) Close() error {
	closed := make(chan error, 1)
	l.c.work.Go(func() { closed <- l.Listener.Close() })
	select {
	case err := <-closed:
		return err
	case <-time.After(closeTime):
		return nil
	}
}

var errReleased = errors.New("not needed any more")

// connection is one authenticated connection.
type connection struct {
	client *ssh.Client
	done   chan struct{} // closed when it has ended; then err is set
	err    error
	once   sync.Once
	urls   chan string    // announced in the session
	work   sync.WaitGroup // of its users: waited for when the last has released it
}

// end ends the connection for this reason, unless it has ended for another.
func (c *connection) end(err error) {
	c.once.Do(func() {
		c.err = err
		_ = c.client.Close() // it may be closed already
		close(c.done)
	})
}

// run watches the connection until it ends or ctx does.
func (c *connection) run(ctx context.Context, every time.Duration) {
	var watching sync.WaitGroup
	watching.Go(func() {
		err := c.client.Wait()
		c.end(&tunnel.Error{Class: tunnel.Network, Message: "the SSH connection has ended: " + text(err), Err: err})
	})
	watching.Go(func() { c.keepalive(every) })
	select {
	case <-ctx.Done():
		c.end(errReleased)
	case <-c.done:
	}
	watching.Wait()
}

// keepalive asks the server whether it is there. A path that has frozen gives no error by itself for minutes.
func (c *connection) keepalive(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	answered := make(chan error, 1)
	asking, missed := false, 0
	defer func() {
		if asking {
			<-answered // the connection has ended, and with it the question
		}
	}()
	for {
		select {
		case <-c.done:
			return
		case <-answered: // refusing the request is an answer too; an error ends Wait
			asking, missed = false, 0
		case <-tick.C:
			if asking {
				if missed++; missed >= missedMost {
					c.end(&tunnel.Error{
						Class:   tunnel.Network,
						Message: fmt.Sprintf("the SSH server has not answered for %s: the path to it is frozen", time.Duration(missed)*every),
					})
					return
				}
				continue
			}
			asking = true
			go func() {
				_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
				answered <- err
			}()
		}
	}
}

func text(err error) string {
	if err == nil {
		return "closed by the server"
	}
	return err.Error()
}
