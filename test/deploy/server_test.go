// Package deploy_test runs what deploy/ ships: NATS with its users, the edge, units and charts.
package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/test/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// shipped is a file below deploy/.
func shipped(name string) string { return filepath.Join("..", "..", "deploy", name) }

// password is a user's in these tests. It would be a number to nats-server, were it not quoted.
func password(user string) string { return fmt.Sprintf("%d", 100000+len(user)*1111) }

// environment sets what the shipped files want of nats-server's environment.
func environment(t *testing.T) {
	t.Helper()
	for _, user := range []string{"listener", "runner", "gateway", "controller", "admin", "route", "forwarder", "link"} {
		t.Setenv("NATS_"+strings.ToUpper(user)+"_PASSWORD", `"`+password(user)+`"`)
	}
	t.Setenv("NATS_NAME", "nats-1")
	t.Setenv("NATS_STORE_DIR", t.TempDir())
}

// natsServer runs nats-server with a file of deploy/, on ports and folders of the test's own, and notes what it refuses.
type natsServer struct {
	*server.Server
	log *serverLog
}

func start(t *testing.T, file string, change ...func(*server.Options)) *natsServer {
	t.Helper()
	o, err := server.ProcessConfigFile(shipped(file))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return startWith(t, file, o, change...)
}

func startWith(t *testing.T, file string, o *server.Options, change ...func(*server.Options)) *natsServer {
	t.Helper()
	o.Host, o.Port, o.HTTPHost, o.HTTPPort, o.NoSigs = "127.0.0.1", server.RANDOM_PORT, "", 0, true
	for _, f := range change {
		f(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	n := &natsServer{Server: s, log: &serverLog{}}
	s.SetLoggerV2(n.log, false, false, false)
	s.Start()
	t.Cleanup(n.stop)
	if !s.ReadyForConnections(system.Patience) {
		t.Fatalf("%s: the server is not ready:\n%s", file, n.log)
	}
	return n
}

func (n *natsServer) stop() {
	n.Shutdown()
	n.WaitForShutdown()
}

// as are the variables that make a service, or the command, that user.
func (n *natsServer) as(user string) []string {
	return []string{
		"SWITCHBACK_NATS_URL=" + n.ClientURL(), "SWITCHBACK_NATS_USER=" + user, "SWITCHBACK_NATS_PASSWORD=" + password(user),
		"SWITCHBACK_NATS_INBOX_PREFIX=_INBOX_" + user, "SWITCHBACK_STREAMS_PROVISION=check",
	}
}

// connect connects as a user.
func (n *natsServer) connect(t *testing.T, user string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(n.ClientURL(), nats.UserInfo(user, password(user)), nats.CustomInboxPrefix("_INBOX_"+user), nats.Timeout(10*time.Second),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatalf("connect as %s: %v", user, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// serverLog keeps the server's errors and warnings.
type serverLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *serverLog) add(format string, v []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, v...))
}

func (*serverLog) Noticef(string, ...any)           {}
func (*serverLog) Debugf(string, ...any)            {}
func (*serverLog) Tracef(string, ...any)            {}
func (l *serverLog) Warnf(format string, v ...any)  { l.add(format, v) }
func (l *serverLog) Errorf(format string, v ...any) { l.add(format, v) }
func (l *serverLog) Fatalf(format string, v ...any) { l.add(format, v) }
func (l *serverLog) with(part string) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, part) {
			all = append(all, line)
		}
	}
	return all
}

func (l *serverLog) String() string { return strings.Join(l.with(""), "\n") }

// A server without all passwords does not start.
func TestServerWantsItsPasswords(t *testing.T) {
	environment(t)
	if err := os.Unsetenv("NATS_RUNNER_PASSWORD"); err != nil {
		t.Fatal(err)
	}
	if o, err := server.ProcessConfigFile(shipped("nats/server.conf")); err == nil {
		t.Errorf("it starts without the runner's: %d accounts", len(o.Accounts))
	}
}
