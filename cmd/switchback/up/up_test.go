package up

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/cmd/switchback/embed"
	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

func TestMain(m *testing.M) {
	// fasthttp's clock, which every process has once.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// options are those of a system of one listener and one workflow, and its lines.
func options(t *testing.T, source string, set ...string) (Options, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "switchback.yaml")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	var lines bytes.Buffer
	return Options{
		Compose:  compose.Options{Files: []string{file}, Set: set},
		Embedded: embed.Options{Dir: filepath.Join(dir, "data"), SyncInterval: time.Minute, Logger: log},
		Admin:    telemetry.AdminConfig{Addr: "127.0.0.1:0"},
		Out:      &lines, Log: log,
	}, &lines
}

const house = `
listener: {host: 127.0.0.1, port: 8090, base_path: /in, path: /done, public_url: https://example.org}
component: {type: logger, message: hello}
workflow: {title: Greet, job: {}}
`

func freePort(t *testing.T) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l, strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// TestRun starts and stops twice on one folder, by the end of the work and by the end of the context.
func TestRun(t *testing.T) {
	l, port := freePort(t)
	_ = l.Close()
	o, lines := options(t, house, "listener.port="+port)
	worked := false
	o.Work = func(ctx context.Context, b *bus.Bus) error {
		worked = true
		return b.Ready(ctx)
	}
	if err := Run(t.Context(), o); err != nil || !worked {
		t.Fatalf("worked %v, %v", worked, err)
	}
	for _, want := range []string{
		"[NATS] Ready on nats://127.0.0.1:", "[Listener] Ready on http://127.0.0.1:" + port + "/in\n",
		"[Listener] POST https://example.org/in/done\n", "[Runner] Ready",
	} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("no %q in\n%s", want, lines)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	o.Work = func(ctx context.Context, _ *bus.Bus) error {
		cancel()
		<-ctx.Done()
		return nil
	}
	if err := Run(ctx, o); err != nil {
		t.Fatal(err)
	}
}

// The metrics of all services are at one address.
func TestMetricsOfAllAtOneAddress(t *testing.T) {
	l, port := freePort(t)
	a, admin := freePort(t)
	_, _ = l.Close(), a.Close()
	o, _ := options(t, house+`
gateway:
  type: ssh-tunnel
  port: 8090
  connection: {host: 127.0.0.1, port: 1, auth: {type: password, username: u, password: p}}
`, "listener.port="+port)
	o.Admin = telemetry.AdminConfig{Addr: "127.0.0.1:" + admin, Asked: true}
	var metrics []byte
	scrape := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+admin+"/metrics", http.NoBody)
		if err != nil {
			return err
		}
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		metrics, err = io.ReadAll(resp.Body)
		return err
	}
	o.Work = func(ctx context.Context, _ *bus.Bus) error {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
			if err := scrape(ctx); err != nil || bytes.Contains(metrics, []byte("\nswitchback_gateway_state{")) {
				return err // the tunnel has a state a moment after it is ready
			}
		}
		return nil
	}
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"switchback_listener_requests_total{", "switchback_runner_active 0", "switchback_gateway_state{", "switchback_nats_connected 1",
		`switchback_jetstream_stream_messages{stream="DEAD"} 0`, `switchback_build_info{`, "go_goroutines ",
	} {
		if !bytes.Contains(metrics, []byte("\n"+want)) {
			t.Errorf("no %q in\n%s", want, metrics)
		}
	}
}

// A tunnel is of use without a workflow and without a listener.
func TestAGatewayAlone(t *testing.T) {
	o, _ := options(t, `
gateway:
  type: ssh-tunnel
  port: 8080
  connection: {host: 127.0.0.1, port: 1, auth: {type: password, username: u, password: p}}
`)
	worked := false
	o.Work = func(ctx context.Context, b *bus.Bus) error {
		worked = true
		return b.Ready(ctx)
	}
	if err := Run(t.Context(), o); err != nil || !worked {
		t.Fatalf("worked %v, %v", worked, err)
	}
}

func TestWhatCannotStart(t *testing.T) {
	taken, port := freePort(t)
	defer taken.Close()
	failing := func(t *testing.T, o Options, want string) {
		t.Helper()
		err := Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	t.Run("listener's port", func(t *testing.T) {
		o, _ := options(t, house, "listener.port="+port)
		failing(t, o, port)
	})
	t.Run("needs", func(t *testing.T) {
		o, _ := options(t, "listener: {port: '${env.SWITCHBACK_TEST_UNSET}', path: /x}")
		failing(t, o, "SWITCHBACK_TEST_UNSET")
		if _, err := os.Stat(o.Embedded.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder was made: %v", err)
		}
	})
	t.Run("gateway", func(t *testing.T) {
		t.Setenv("NGROK_AUTHTOKEN", "")
		o, lines := options(t, "gateway: {driver: ngrok, port: 8090}")
		failing(t, o, "ngrok needs an authtoken")
		if lines.Len() > 0 {
			t.Errorf("it started: %s", lines)
		}
	})
	t.Run("file", func(t *testing.T) {
		o, _ := options(t, "listner: {}")
		failing(t, o, "did you mean listener?")
	})
	t.Run("nats", func(t *testing.T) {
		o, _ := options(t, house)
		o.NATS = "nats://127.0.0.1:1"
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := Run(ctx, o); err == nil || !strings.Contains(err.Error(), o.NATS) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("work", func(t *testing.T) {
		l, free := freePort(t)
		_ = l.Close()
		o, _ := options(t, house, "listener.port="+free)
		o.Work = func(context.Context, *bus.Bus) error { return errors.New("no hands") }
		failing(t, o, "no hands")
	})
}
