package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/services/gateway/ssh"
	"github.com/switchbackhq/switchback/services/gateway/sshtest"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience only ends a test that has failed.
const patience = time.Minute

func settings(s *sshtest.Sshd) ssh.Settings {
	return ssh.Settings{Host: "127.0.0.1", Port: s.Port, Username: s.User, Keyfile: s.Keyfile, KnownHosts: s.KnownHosts, StepTime: 5 * time.Second}
}

// running is a driver's Run under way.
type running struct {
	t    *testing.T
	seen chan tunnel.Observation
	done chan error
	stop context.CancelFunc
	over bool
}

func run(t *testing.T, d *ssh.Driver, remote int) *running {
	t.Helper()
	return runSpec(t, d, tunnel.Spec{Gateway: "g", Port: 8090, Remote: remote})
}

func runSpec(t *testing.T, d *ssh.Driver, spec tunnel.Spec) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, seen: make(chan tunnel.Observation, 16), done: make(chan error, 1), stop: cancel}
	proxy := tunnel.NewProxy(tunnel.ProxyConfig{Target: "unused", Secret: tunnel.NewSecret(), Dial: echo{}})
	spec.Serve = proxy.Serve
	go func() { r.done <- d.Run(ctx, spec, func(o tunnel.Observation) { r.seen <- o }) }()
	t.Cleanup(func() {
		cancel()
		if !r.over {
			r.end()
		}
	})
	return r
}

// echo is a target that says who asked.
type echo struct{}

func (echo) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &strings.Builder{}
	fmt.Fprintf(w, "%s %s for %s", r.Method, r.URL.Path, r.Header.Get("X-Forwarded-For"))
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: readCloser{strings.NewReader(w.String())}, ContentLength: int64(w.Len()), Request: r,
	}, nil
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// open is what is seen next, but for signing in.
func (r *running) open() tunnel.Observation {
	r.t.Helper()
	for {
		if o := r.observed(); o.SignedIn == "" {
			return o
		}
	}
}

func (r *running) observed() tunnel.Observation {
	r.t.Helper()
	select {
	case o := <-r.seen:
		return o
	case err := <-r.done:
		r.over = true
		r.t.Fatalf("the tunnel has ended: %v", err)
	case <-time.After(patience):
		r.t.Fatal("the tunnel does not open")
	}
	return tunnel.Observation{}
}

func (r *running) end() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.over = true
		return err
	case <-time.After(patience):
		r.t.Fatal("the tunnel does not end")
		return nil
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b := make([]byte, 256)
	n, _ := resp.Body.Read(b)
	return string(b[:n])
}

func TestTwoPortsOverOneConnection(t *testing.T) {
	server := sshtest.StartSshd(t)
	path := sshtest.StartPath(t, server.Addr)
	s := settings(server)
	s.Port = path.Port
	s.KnownHosts = sshtest.KnownHosts(t, path.Addr, server.HostKey)
	d := ssh.New(s)
	first, second := run(t, d, 0), run(t, d, sshtest.FreePort(t))
	for _, r := range []*running{first, second} {
		o := r.open()
		if got, want := get(t, o.URL+"/hook"), "GET /hook for 127.0.0.1"; got != want {
			t.Errorf("%s answers %q, want %q", o.URL, got, want)
		}
		if "http://"+o.Address != o.URL {
			t.Errorf("URL %s, address %s", o.URL, o.Address)
		}
	}
	first.stop()
	if err := first.end(); err != nil {
		t.Errorf("a tunnel that was stopped gives %v", err)
	}
	path.Cut()
	if e := tunnel.Classify(second.end()); e.Class != tunnel.Network || !strings.Contains(e.Message, "connection has ended") {
		t.Errorf("after a cut: %v %v", e.Class, e)
	}
	third := run(t, d, 0)
	if got := get(t, third.open().URL+"/again"); got != "GET /again for 127.0.0.1" {
		t.Errorf("after a cut and a new connection: %q", got)
	}
}

func TestAFrozenPathIsNoticed(t *testing.T) {
	server := sshtest.StartSshd(t)
	path := sshtest.StartPath(t, server.Addr)
	s := settings(server)
	s.Port, s.KnownHosts, s.Keepalive = path.Port, sshtest.KnownHosts(t, path.Addr, server.HostKey), 100*time.Millisecond
	r := run(t, ssh.New(s), 0)
	r.open()
	path.Freeze()
	if e := tunnel.Classify(r.end()); e.Class != tunnel.Network || !strings.Contains(e.Message, "frozen") {
		t.Errorf("%v %v", e.Class, e)
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	server := sshtest.StartSshd(t)
	l, err := net.Listen("tcp", ":0") // both of the loopbacks: sshd is content with one
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	taken, _ := strconv.Atoi(port)
	if e := tunnel.Classify(run(t, ssh.New(settings(server)), taken).end()); e.Class != tunnel.Conflict || !strings.Contains(e.Hint, "PermitListen") {
		t.Errorf("%v %v, %s", e.Class, e, e.Hint)
	}
}

// Being let in is told before the forward is asked for.
func TestForwardingIsForbidden(t *testing.T) {
	server := sshtest.StartSshd(t, "AllowTcpForwarding no")
	r := run(t, ssh.New(settings(server)), 0)
	if o := r.observed(); o != (tunnel.Observation{SignedIn: server.User + " is let in by the key " + server.Keyfile}) {
		t.Errorf("%+v", o)
	}
	if e := tunnel.Classify(r.end()); e.Class != tunnel.Conflict || !strings.Contains(e.Hint, "AllowTcpForwarding") {
		t.Errorf("%v %v, %s", e.Class, e, e.Hint)
	}
}

func TestWhoIsNotLetIn(t *testing.T) {
	server := sshtest.StartSshd(t)
	stranger, _ := sshtest.Key(t, t.TempDir(), "stranger")
	_, otherKey := sshtest.Key(t, t.TempDir(), "other")
	open := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(open, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change  func(s *ssh.Settings)
		class   tunnel.Class
		message string
		hint    string
	}{
		"unknown key": {
			func(s *ssh.Settings) { s.Keyfile = stranger }, tunnel.Auth, "does not let", "authorized_keys",
		},
		"password forbidden": {
			func(s *ssh.Settings) { s.Keyfile, s.Password = "", "x" }, tunnel.Auth, "tried the password", "PasswordAuthentication",
		},
		"unknown server": {
			func(s *ssh.Settings) { s.KnownHosts = filepath.Join(t.TempDir(), "none") }, tunnel.HostKey, "is not known", "ssh-ed25519 AAAA",
		},
		"another server": {
			func(s *ssh.Settings) { s.KnownHosts = sshtest.KnownHosts(t, server.Addr, otherKey.PublicKey()) },
			tunnel.HostKey, "another key", "ssh-keygen -R '[127.0.0.1]:",
		},
		"no key": {
			func(s *ssh.Settings) { s.Keyfile = "/nowhere/key" }, tunnel.Config, "no such file", "ssh-keygen",
		},
		"open key": {
			func(s *ssh.Settings) { s.Keyfile = open }, tunnel.Config, "by others (mode 0644)", "chmod 600",
		},
		"nobody there": {
			func(s *ssh.Settings) {
				s.Port = sshtest.FreePort(t)
				s.KnownHosts = sshtest.KnownHosts(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)), server.HostKey)
			}, tunnel.Network, "connection refused", "connection.port",
		},
		"no agent": {
			func(s *ssh.Settings) { s.Keyfile, s.Agent = "", "/nowhere/agent" }, tunnel.Config, "SSH agent", "ssh-add",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings(server)
			c.change(&s)
			e := tunnel.Classify(run(t, ssh.New(s), 0).end())
			if e.Class != c.class || !strings.Contains(e.Message, c.message) || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("%s: %s\n(%s)\nwant %s: …%s… (…%s…)", e.Class, e.Message, e.Hint, c.class, c.message, c.hint)
			}
		})
	}
}

func TestAServerThatSaysNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s := ssh.Settings{
		Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Username: "u", Password: "p", StepTime: 50 * time.Millisecond,
		InsecureIgnoreHostKey: true,
	}
	if e := tunnel.Classify(run(t, ssh.New(s), 0).end()); e.Class != tunnel.Network || !strings.Contains(e.Message, "does not speak SSH") {
		t.Errorf("%v %v", e.Class, e)
	}
}

func TestStopWhileConnecting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s := ssh.Settings{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Username: "u", Password: "p", StepTime: time.Hour, InsecureIgnoreHostKey: true}
	r := run(t, ssh.New(s), 0)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r.stop()
	if err := r.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
