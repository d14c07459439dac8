package bustest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/switchbackhq/switchback/pkg/bus"
)

const processDir = "BUSTEST_STORE_DIR"

// Process is a server in a process of its own: the test binary, run once more.
type Process struct {
	t    testing.TB
	dir  string
	port string
	cmd  *exec.Cmd
	url  string
}

// Main makes this process the server of a Process, when it was started as one. Packages that use StartProcess call it
// first thing in TestMain; it returns in all others.
func Main() {
	dir, port, ok := strings.Cut(os.Getenv(processDir), "|")
	if !ok {
		return
	}
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true}
	if port != "" {
		if _, err := fmt.Sscan(port, &o.Port); err != nil {
			panic(err)
		}
	}
	srv, err := server.NewServer(o)
	if err != nil {
		panic(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(readyWithin) {
		panic("server is not ready")
	}
	_, _ = fmt.Fprintln(os.Stdout, "listening "+srv.ClientURL())
	// Until the test is done with us: it holds the other end of our stdin.
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	os.Exit(0)
}

// StartProcess starts a server with JetStream in a process of its own; the test's end kills it.
func StartProcess(t testing.TB) *Process {
	t.Helper()
	p := &Process{t: t, dir: t.TempDir()}
	p.Start()
	t.Cleanup(p.Kill)
	return p
}

// Start starts it again after Kill: same port, same files.
func (p *Process) Start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], "-test.run=^$") // ourselves; Kill ends it
	p.cmd.Env = append(os.Environ(), processDir+"="+p.dir+"|"+p.port)
	if _, err := p.cmd.StdinPipe(); err != nil {
		p.t.Fatalf("start a server: %v", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatalf("start a server: %v", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening ")
	if err != nil || !ok {
		p.t.Fatalf("the server process said %q, %v; does TestMain call bustest.Main?", line, err)
	}
	p.url, p.port = url, url[strings.LastIndexByte(url, ':')+1:]
}

// Kill ends the process with SIGKILL: what it had not written is lost.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// URL is the server's address. It stays the same.
func (p *Process) URL() string { return p.url }

// Provisioned connects and lays out the streams; the test's end closes the bus.
func (p *Process) Provisioned(l bus.Layout) *bus.Bus {
	p.t.Helper()
	b := Connect(p.t, bus.Options{URL: p.url, Name: p.t.Name()})
	if err := b.Provision(p.t.Context(), l); err != nil {
		p.t.Fatalf("provision: %v", err)
	}
	return b
}
