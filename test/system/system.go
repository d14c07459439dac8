// Package system runs Switchback as it is deployed, real processes on loopback, for tests that kill them.
package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Patience bounds every wait for something that must happen: it only ends a test that has failed.
const Patience = 60 * time.Second

const natsEnv = "SWITCHBACK_TEST_NATS"

// Main is called by TestMain: it is the process of a NATS server when asked to be, else it runs the tests.
func Main(m *testing.M) {
	if dir := os.Getenv(natsEnv); dir != "" {
		if err := serveNATS(dir); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if dir := built.dir; dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

func serveNATS(dir string) error {
	port, err := strconv.Atoi(os.Getenv(natsEnv + "_PORT"))
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true})
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown()
	return nil
}

var built struct {
	once sync.Once
	dir  string
	err  error
}

// Binary builds the commands once and gives the path of one.
func Binary(t testing.TB, name string) string {
	t.Helper()
	built.once.Do(func() {
		_, file, _, _ := runtime.Caller(0)
		root := filepath.Join(filepath.Dir(file), "..", "..")
		if built.dir, built.err = os.MkdirTemp("", "switchback-test-"); built.err != nil { //nolint:usetesting // for all tests
			return
		}
		const m = "github.com/switchbackhq/switchback/"
		cmd := exec.Command("go", "build", "-o", built.dir, m+"cmd/switchback",
			m+"services/listener/cmd/switchback-listener", m+"services/runner/cmd/switchback-runner",
			m+"services/gateway/cmd/switchback-gateway", m+"services/forwarder/cmd/switchback-forwarder")
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatalf("build the commands: %v", built.err)
	}
	return filepath.Join(built.dir, name)
}

// FreePort gives a port of 127.0.0.1 that nobody listens on. The kernel gives out none of that range: a port of its choice
// may be another test's, or a connection's, by the time that it is used.
func FreePort(t testing.TB) int {
	t.Helper()
	var err error
	for range 100 {
		port := 10000 + rand.IntN(20000)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal(err)
	return 0
}

// Process is a running command.
type Process struct {
	t     testing.TB
	name  string
	cmd   *exec.Cmd
	out   *lockedBuffer
	err   *lockedBuffer
	done  chan struct{}
	admin string
}

// Start runs a command until the test ends.
func Start(t testing.TB, dir string, env []string, name string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, name: filepath.Base(name), cmd: exec.Command(name, args...), out: &lockedBuffer{}, err: &lockedBuffer{}, done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s %s\n%s%s", p.name, strings.Join(args, " "), p.out, p.err)
		}
	})
	return p
}

// Kill ends the process as kill -9 does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop asks the process to end, and gives its exit code.
func (p *Process) Stop() int {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.Wait()
}

// HangUp sends SIGHUP.
func (p *Process) HangUp() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// Wait waits for the process's end, and gives its exit code.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(Patience):
		p.t.Fatalf("%s does not end", p.name)
		return -1
	}
}

// Stdout is what the process has written there.
func (p *Process) Stdout() string { return p.out.String() }

// Stderr is what the process has written there.
func (p *Process) Stderr() string { return p.err.String() }

// Ready waits until the process says that it is.
func (p *Process) Ready() *Process {
	p.t.Helper()
	Eventually(p.t, p.name+" is ready", func() error {
		select {
		case <-p.done:
			p.t.Fatalf("%s has ended:\n%s%s", p.name, p.out, p.err)
		default:
		}
		return ReadyAt(p.t.Context(), p.admin)
	})
	return p
}

// ReadyAt asks an admin endpoint whether its service is ready.
func ReadyAt(ctx context.Context, admin string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return nil
}

// Eventually tries until f gives no error.
func Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s: %v", what, Patience, err)
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, errors.Join(t.Context().Err(), err))
		}
	}
}

// NATS is a nats-server in a process of its own.
type NATS struct {
	*Process
	t    testing.TB
	dir  string
	port int
}

// StartNATS runs a nats-server with JetStream.
func StartNATS(t testing.TB) *NATS {
	t.Helper()
	n := &NATS{t: t, dir: t.TempDir(), port: FreePort(t)}
	n.Start()
	return n
}

// Start runs the server, again on the same port and data.
func (n *NATS) Start() {
	n.t.Helper()
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	n.Process = Start(n.t, n.dir, []string{natsEnv + "=" + n.dir, natsEnv + "_PORT=" + strconv.Itoa(n.port)}, self)
	Eventually(n.t, "nats-server listens", func() error {
		c, err := net.DialTimeout("tcp", n.Addr(), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

// Addr is host:port.
func (n *NATS) Addr() string { return "127.0.0.1:" + strconv.Itoa(n.port) }

// URL is nats://host:port.
func (n *NATS) URL() string { return "nats://" + n.Addr() }

// Service runs switchback-listener or -runner on this NATS.
func (n *NATS) Service(name, file string, env ...string) *Process {
	n.t.Helper()
	return Service(n.t, name, file, append(env, "SWITCHBACK_NATS_URL="+n.URL()))
}

// Service runs a service on the NATS that env names.
func Service(t testing.TB, name, file string, env []string) *Process {
	t.Helper()
	admin := "127.0.0.1:" + strconv.Itoa(FreePort(t))
	p := Start(t, filepath.Dir(file), env, Binary(t, "switchback-"+name), "-f", file, "--admin-addr", admin, "--log-format", "text")
	p.admin = admin
	return p
}

// Admin is the address of the process's admin endpoint.
func (p *Process) Admin() string { return p.admin }

// Up runs everything in one process, with its data in dir.
func Up(t testing.TB, dir, file string, natsPort int, env ...string) *Process {
	t.Helper()
	admin := "127.0.0.1:" + strconv.Itoa(FreePort(t))
	p := Start(t, filepath.Dir(file), env, Binary(t, "switchback"), "up", "-f", file, "--data-dir", dir,
		"--nats-port", strconv.Itoa(natsPort), "--admin-addr", admin, "--log-format", "text")
	p.admin = admin
	return p
}

// Write writes a file of the test's own and gives its path.
func Write(t testing.TB, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// lockedBuffer keeps what a process writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
