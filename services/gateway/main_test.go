package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/gateway"
	"github.com/switchbackhq/switchback/services/gateway/cloudflaretest"
	"github.com/switchbackhq/switchback/services/gateway/sshtest"
)

func TestMain(m *testing.M) {
	if code, stoodIn := cloudflaretest.Run(); stoodIn {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("golang.ngrok.com/muxado/v2.(*Heartbeat).requester"), // they outlive their session by one beat
		goleak.IgnoreTopFunction("golang.ngrok.com/muxado/v2.(*Heartbeat).check"))
}

// patience only ends a test that has failed.
const patience = time.Minute

// parse reads a compose file.
func parse(t *testing.T, file string, env ...string) *compose.Document {
	t.Helper()
	doc, err := compose.Parse([]byte(file), getenv(env...))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func getenv(env ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, e := range env {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v, true
			}
		}
		return "", false
	}
}

// sshGateway is a gateway over a server, reached by the way given.
func sshGateway(s *sshtest.Sshd, knownHosts string, sshPort int, extra string, ports ...string) string {
	return fmt.Sprintf(`
gateway:
  type: ssh-tunnel
  port: [%s]
%s
  connection:
    host: 127.0.0.1
    port: %d
    known_hosts: %s
    retry_interval: 10ms
    auth: {type: keyfile, username: %s, keyfile: %s}
`, strings.Join(ports, ", "), extra, sshPort, knownHosts, s.User, s.Keyfile)
}

// target is a local service, and its port.
func target(t *testing.T, answer string) int {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
	t.Cleanup(s.Close)
	port, err := strconv.Atoi(s.URL[strings.LastIndex(s.URL, ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// running is a gateway that runs.
type running struct {
	t    *testing.T
	g    *gateway.Gateway
	stop context.CancelFunc
	done chan error
	out  *buffer
	log  *buffer
}

func start(t *testing.T, c gateway.Config, d gateway.Deps) *running {
	t.Helper()
	r := &running{t: t, done: make(chan error, 1), out: &buffer{}, log: &buffer{}}
	d.Out = r.out
	d.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	g, err := gateway.New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	r.g = g
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.done <- g.Run(ctx) }()
	t.Cleanup(func() {
		r.end()
		if t.Failed() {
			t.Logf("%s%s", r.out, r.log)
		}
	})
	return r
}

func (r *running) end() {
	r.t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("run: %v", err)
		}
		r.done <- nil
	case <-time.After(patience):
		r.t.Fatal("the gateway does not end")
	}
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// await waits until the status in NATS is as wanted.
func await(t *testing.T, b *bus.Bus, port int, want func(s event.GatewayStatus) bool) event.GatewayStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last event.GatewayStatus
	found := false
	if err := b.Bucket(subject.BucketGateways).Watch(ctx, strconv.Itoa(port), func(e *bus.Entry) {
		if e == nil || found {
			return
		}
		last = event.GatewayStatus{}
		if !e.Deleted {
			if err := json.Unmarshal(e.Value, &last); err != nil {
				t.Errorf("status: %v", err)
			}
		}
		if want(last) {
			found = true
			cancel()
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !found {
		t.Fatalf("port %d: not what is awaited, at last %+v", port, last)
	}
	return last
}

func up(s event.GatewayStatus) bool { return s.Status == event.GatewayUp }

func gone(s event.GatewayStatus) bool { return s.Status == "" }

func fetch(t *testing.T, url string) (string, error) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

func provisioned(t *testing.T) (*bustest.Server, *bus.Bus) {
	t.Helper()
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{Memory: true})
	return s, b
}
