package embed

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(dir string, port int) Options {
	return Options{Dir: dir, Port: port, SyncInterval: time.Second, Logger: slog.New(slog.DiscardHandler)}
}

func begin(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, o Options, message, hint string) {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err == nil {
		stop(t, s)
		t.Fatalf("started, want an error with %q", message)
	}
	if !strings.Contains(err.Error(), message) || !strings.Contains(fault.HintOf(err), hint) {
		t.Errorf("got %q (%q), want %q (%q)", err, fault.HintOf(err), message, hint)
	}
}

func TestFolderIsLockedUntilStop(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := begin(t, options(dir, 0))
	refused(t, options(dir, 0), "another switchback up is running on the data folder "+dir, "--data-dir")
	stop(t, s)
	stop(t, begin(t, options(dir, 0)))
}

func TestTakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	port := l.Addr().(*net.TCPAddr).Port
	refused(t, options(dir, port), "(--nats-port) is taken", "--nats-port")
	// The folder is free again.
	stop(t, begin(t, options(dir, 0)))
}

func TestFolderThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, options(filepath.Join(file, "data"), 0), "cannot make the data folder", "--data-dir")

	// What JetStream cannot use is said at once, not after the time that a start may take.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, options(dir, 0), "cannot start the NATS server in "+dir, "")
}

func TestClients(t *testing.T) {
	s := begin(t, options(t.TempDir(), 0))
	defer stop(t, s)
	c, err := s.InProcessConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	c, err = net.Dial("tcp", strings.TrimPrefix(s.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}
