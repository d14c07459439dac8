// Package bustest runs real NATS servers with JetStream inside tests: one, three in a cluster, or one in a process of its own
// that can be killed.
package bustest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/switchbackhq/switchback/pkg/bus"
)

// readyWithin is how long a server may take to accept connections on a busy machine, and whatever else a test waits for.
const readyWithin = time.Minute

// Eventually asks until ok, and fails the test when that takes longer than anything can take.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(readyWithin); !ok(); <-again.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", readyWithin, what)
		}
	}
}

// Server is one server in this process.
type Server struct {
	t    testing.TB
	opts *server.Options
	srv  *server.Server
}

// Start starts a server with JetStream on files below t.TempDir() and a free port; the test's end stops it. Its options
// may be changed before.
func Start(t testing.TB, change ...func(*server.Options)) *Server {
	t.Helper()
	s := &Server{t: t, opts: &server.Options{
		ServerName: "one", Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	}}
	for _, f := range change {
		f(s.opts)
	}
	s.start()
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) start() {
	s.t.Helper()
	srv, err := server.NewServer(s.opts)
	if err != nil {
		s.t.Fatalf("new server: %v", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(readyWithin) {
		s.t.Fatalf("server %s is not ready within %v", s.opts.ServerName, readyWithin)
	}
	s.srv = srv
	if a, ok := srv.Addr().(*net.TCPAddr); ok {
		s.opts.Port = a.Port // the same after a restart
	}
}

// Stop ends the server in order, as on SIGTERM. Start begins again.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// Start starts a stopped server again: same port, same files.
func (s *Server) Start() {
	s.t.Helper()
	s.start()
}

// Restart stops and starts.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

// URL is the server's address. It stays the same.
func (s *Server) URL() string { return s.srv.ClientURL() }

// Server is the server itself, until the next restart.
func (s *Server) Server() *server.Server { return s.srv }

// Connect connects to the server; the test's end closes the bus.
func (s *Server) Connect() *bus.Bus {
	s.t.Helper()
	return Connect(s.t, bus.Options{URL: s.URL(), Name: s.t.Name()})
}

// Provisioned connects to the server and lays out the streams.
func (s *Server) Provisioned(l bus.Layout) *bus.Bus {
	s.t.Helper()
	b := s.Connect()
	if err := b.Provision(s.t.Context(), l); err != nil {
		s.t.Fatalf("provision: %v", err)
	}
	return b
}

// Connect connects with these options; the test's end closes the bus.
func Connect(t testing.TB, o bus.Options) *bus.Bus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	b, err := bus.Connect(ctx, o)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = b.Close(ctx) // the server may be down by now
	})
	return b
}
