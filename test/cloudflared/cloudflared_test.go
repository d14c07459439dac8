package cloudflared_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/services/gateway/cloudflare"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// patience only ends a test that has failed: cloudflared itself may wait for half a minute before it connects again.
const patience = 100 * time.Second

// genuine finds cloudflared.
func genuine(t *testing.T) string {
	t.Helper()
	name := os.Getenv("CLOUDFLARED_BIN")
	if name == "" {
		name = "cloudflared"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip("there is no cloudflared (CLOUDFLARED_BIN, PATH): only the stand-in of services/gateway/cloudflare has been tested")
	}
	return path
}

type running struct {
	t    *testing.T
	e    *edge
	seen chan tunnel.Observation
	done chan error
	stop context.CancelFunc
	// probe asks through the public URL.
	probe *tunnel.Prober
}

// open opens a tunnel from a local service to the edge.
func open(t *testing.T, e *edge, change func(s *cloudflare.Settings)) *running {
	t.Helper()
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Local", "yes")
		w.WriteHeader(http.StatusAccepted)
		_, _ = fmt.Fprintf(w, "%s %s %s from %s", r.Method, r.URL.Path, body, r.Header.Get("X-Forwarded-For"))
	}))
	t.Cleanup(local.Close)
	target := strings.TrimPrefix(local.URL, "http://")
	s := cloudflare.Settings{
		Binary: genuine(t), StateDir: t.TempDir(), Poll: 50 * time.Millisecond,
		Args: []string{"--quick-service", e.api, "--edge", e.addr, "--cacert", e.ca, "--protocol", "http2"},
	}
	if change != nil {
		change(&s)
	}
	secret := tunnel.NewSecret()
	transport := tunnel.NewTargetTransport()
	t.Cleanup(transport.CloseIdleConnections)
	proxy := tunnel.NewProxy(tunnel.ProxyConfig{Target: target, Scheme: "http", Dial: transport, Secret: secret, Trust: true, Proto: "https"})
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{
		t: t, e: e, seen: make(chan tunnel.Observation, 16), done: make(chan error, 1), stop: cancel, probe: tunnel.NewProber(secret, "", e),
	}
	go func() {
		r.done <- cloudflare.New(s).Run(ctx, tunnel.Spec{Gateway: "g", Port: 8090, Target: target, Serve: proxy.Serve}, func(o tunnel.Observation) { r.seen <- o })
	}()
	t.Cleanup(func() {
		cancel()
		_ = r.end()
	})
	return r
}

// next is what is seen next, but for signing in.
func (r *running) next() tunnel.Observation {
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
		r.done <- err
		r.t.Fatalf("the tunnel has ended: %v", err)
	case <-time.After(patience):
		r.t.Fatal("nothing is seen of the tunnel")
	}
	return tunnel.Observation{}
}

func (r *running) end() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		return err
	case <-time.After(patience):
		r.t.Fatal("the tunnel does not end")
		return nil
	}
}

// A quick tunnel: its URL, a probe and a request through it, the same URL after the connection was cut, and an end in order.
func TestAQuickTunnel(t *testing.T) {
	e := startEdge(t)
	r := open(t, e, nil)
	first := r.next()
	if first.URL != "https://"+quickHost {
		t.Fatalf("%+v", first)
	}
	if err := r.probe.Probe(t.Context(), first.URL); err != nil {
		t.Errorf("probe: %v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, first.URL+"/hook", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := e.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if want := "POST /hook hello from 203.0.113.9"; err != nil || resp.StatusCode != http.StatusAccepted || string(body) != want || resp.Header.Get("Local") != "yes" {
		t.Errorf("%d %q %v %v, want %q", resp.StatusCode, body, resp.Header, err, want)
	}

	e.cut()
	if o := r.next(); o.Err == nil {
		t.Errorf("after a cut %+v", o)
	}
	if o := r.next(); o.URL != first.URL {
		t.Errorf("%+v, want %s again", o, first.URL)
	}
	if err := r.probe.Probe(t.Context(), first.URL); err != nil {
		t.Errorf("probe after the cut: %v", err)
	}
	r.stop()
	if err := r.end(); err != nil {
		t.Errorf("%v", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.left == 0 {
		t.Error("it left without a word")
	}
}

// Named tunnels, by token and by credentials.
func TestNamedTunnels(t *testing.T) {
	const id = "f174e90a-fafe-4643-bbbc-4a0ed4fc8415"
	secret := base64.StdEncoding.EncodeToString(make([]byte, 32))
	t.Run("token", func(t *testing.T) {
		r := open(t, startEdge(t), func(s *cloudflare.Settings) {
			s.Token = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"a":"acc","t":%q,"s":%q}`, id, secret))
			s.Hostname = "hooks.example.com"
		})
		if o := r.next(); o.URL != "https://hooks.example.com" {
			t.Errorf("%+v", o)
		}
	})
	t.Run("credentials", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "c.json")
		if err := os.WriteFile(file, fmt.Appendf(nil, `{"AccountTag":"acc","TunnelID":%q,"TunnelSecret":%q}`, id, secret), 0o600); err != nil {
			t.Fatal(err)
		}
		r := open(t, startEdge(t), func(s *cloudflare.Settings) { s.Tunnel, s.CredentialsFile, s.Hostname = id, file, "hooks.example.com" })
		o := r.next()
		if o.URL != "https://hooks.example.com" {
			t.Errorf("%+v", o)
		}
		if err := r.probe.Probe(t.Context(), o.URL); err != nil {
			t.Errorf("probe: %v", err)
		}
	})
}

func TestRefusals(t *testing.T) {
	token := base64.StdEncoding.EncodeToString([]byte(`{"a":"acc","t":"f174e90a-fafe-4643-bbbc-4a0ed4fc8415","s":"AAAA"}`))
	for name, c := range map[string]struct {
		edge   func(e *edge)
		change func(s *cloudflare.Settings)
		class  tunnel.Class
		want   string
	}{
		"quota":       {func(e *edge) { e.quota = true }, nil, tunnel.Quota, "429"},
		"secret":      {func(e *edge) { e.refusal = "Unauthorized: Invalid tunnel secret" }, func(s *cloudflare.Settings) { s.Token = token }, tunnel.Auth, "Invalid tunnel secret"},
		"not found":   {func(e *edge) { e.refusal = "Unauthorized: Tunnel not found" }, func(s *cloudflare.Settings) { s.Token = token }, tunnel.Auth, "Tunnel not found"},
		"wrong token": {nil, func(s *cloudflare.Settings) { s.Token = "nonsense" }, tunnel.Auth, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEdge(t)
			if c.edge != nil {
				c.edge(e)
			}
			failed := tunnel.Classify(open(t, e, c.change).end())
			if failed.Class != c.class || !strings.Contains(failed.Message, c.want) || failed.Hint == "" {
				t.Errorf("%s: %s (%s), want %s: …%s…", failed.Class, failed.Message, failed.Hint, c.class, c.want)
			}
		})
	}
}
