// Package bustest runs real NATS servers with JetStream inside tests.
package bustest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/switchbackhq/switchback/pkg/bus"
)

// Server is one embedded server.
type Server struct {
	t    testing.TB
	opts *server.Options
	srv  *server.Server
}

// Start starts a server with JetStream on files below t.TempDir() and a free port; the test's end stops it.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, opts: &server.Options{
		ServerName: "one", Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	}}
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
	if !srv.ReadyForConnections(20 * time.Second) {
		s.t.Fatal("server is not ready within 20 s")
	}
	s.srv = srv
	s.opts.Port = srv.Addr().(*net.TCPAddr).Port
}

// Stop ends the server as on SIGTERM. It may be started again with Restart.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// Restart starts a stopped server again, or stops and starts a running one: same port, same files.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

// URL is the server's address.
func (s *Server) URL() string { return s.srv.ClientURL() }

// Server is the server itself.
func (s *Server) Server() *server.Server { return s.srv }

// Connect connects to the server; the test's end closes the bus.
func (s *Server) Connect() *bus.Bus {
	s.t.Helper()
	return connect(s.t, bus.Options{URL: s.URL(), Name: s.t.Name()})
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

func connect(t testing.TB, o bus.Options) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), o)
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
