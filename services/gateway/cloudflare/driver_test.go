package cloudflare_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/services/gateway/cloudflare"
	"github.com/switchbackhq/switchback/services/gateway/cloudflaretest"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// patience only ends a test that has failed.
const patience = time.Minute

type running struct {
	t    *testing.T
	seen chan tunnel.Observation
	done chan error
	stop context.CancelFunc
}

func run(t *testing.T, mode string, change func(s *cloudflare.Settings)) *running {
	t.Helper()
	t.Setenv("SHOULD_NOT_BE_SEEN", "x")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := cloudflare.Settings{Binary: self, StateDir: t.TempDir(), Env: []string{cloudflaretest.Env + "=" + mode, "GORACE=atexit_sleep_ms=0"}, Poll: 20 * time.Millisecond}
	if change != nil {
		change(&s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, seen: make(chan tunnel.Observation, 16), done: make(chan error, 1), stop: cancel}
	spec := tunnel.Spec{Gateway: "g", Port: 8090, Target: "localhost:8090", Serve: func(ctx context.Context, l net.Listener) error {
		<-ctx.Done()
		return l.Close()
	}}
	d := cloudflare.New(s)
	go func() { r.done <- d.Run(ctx, spec, func(o tunnel.Observation) { r.seen <- o }) }()
	t.Cleanup(func() {
		cancel()
		r.end()
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

func TestURLs(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *cloudflare.Settings)
		want   string
	}{
		"quick":           {nil, "https://quick.trycloudflare.test"},
		"token, hostname": {func(s *cloudflare.Settings) { s.Token, s.Hostname = "a-secret", "named.example.com" }, "https://named.example.com"},
		"token":           {func(s *cloudflare.Settings) { s.Token = "a-secret" }, "https://hooks.example.com"},
		"credentials and hostname": {func(s *cloudflare.Settings) {
			s.Tunnel, s.CredentialsFile, s.Hostname = "t", "/c.json", "x.example.com"
		}, "https://x.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, "ok", c.change)
			if o := r.next(); o.URL != c.want {
				t.Errorf("%+v, want %s", o, c.want)
			}
			r.stop()
			if err := r.end(); err != nil {
				t.Errorf("%v", err)
			}
		})
	}
}

// A quick tunnel is given its name before it is bound, and that is told by itself; a named one does both by one request.
func TestSigningInIsToldByItself(t *testing.T) {
	r := run(t, "lost", nil)
	if o := r.observed(); !strings.HasSuffix(o.SignedIn, "the name quick.trycloudflare.test") || o.URL != "" || o.Err != nil {
		t.Errorf("%+v", o)
	}
	if e := tunnel.Classify(r.end()); e.Class != tunnel.Network {
		t.Errorf("%s: %s", e.Class, e)
	}
	r = run(t, "ok", func(s *cloudflare.Settings) { s.Token = "a-secret" })
	if o := r.observed(); o.URL == "" || o.SignedIn != "" {
		t.Errorf("%+v", o)
	}
}

// A tunnel that has no name at Cloudflare is of no use, and is asked for it further on.
func TestATunnelWithoutName(t *testing.T) {
	r := run(t, "nameless", func(s *cloudflare.Settings) { s.Token, s.NameTime = "a-secret", time.Nanosecond })
	if e := tunnel.Classify(r.next().Err); e.Class != tunnel.Config || !strings.Contains(e.Message, "no public name") || !strings.Contains(e.Hint, "hostname") {
		t.Errorf("%s: %s (%s)", e.Class, e, e.Hint)
	}
}

func TestFailures(t *testing.T) {
	for mode, c := range map[string]struct {
		change func(s *cloudflare.Settings)
		class  tunnel.Class
		want   string
	}{
		"429":       {nil, tunnel.Quota, "429"},
		"bad-token": {nil, tunnel.Auth, "cannot be read"},
		"dns":       {nil, tunnel.Network, "no such host"},
		"refused":   {nil, tunnel.Auth, "Invalid tunnel secret"},
		"loop":      {nil, tunnel.Remote, "caught in a loop"},
		"never":     {func(s *cloudflare.Settings) { s.Patience = 100 * time.Millisecond }, tunnel.Network, "no connection to Cloudflare for 100ms"},
		"missing":   {func(s *cloudflare.Settings) { s.Binary = "/nowhere/cloudflared" }, tunnel.Config, "was not found"},
	} {
		t.Run(mode, func(t *testing.T) {
			e := tunnel.Classify(run(t, mode, c.change).end())
			if e.Class != c.class || !strings.Contains(e.Message, c.want) {
				t.Errorf("%s: %s, want %s: …%s…", e.Class, e, c.class, c.want)
			}
		})
	}
}

func TestAProcessThatLosesItsConnections(t *testing.T) {
	r := run(t, "flap", nil)
	first := r.next()
	if o := r.next(); o.Err == nil {
		t.Errorf("%+v", o)
	}
	if o := r.next(); o != first {
		t.Errorf("%+v, want %+v", o, first)
	}
}

// What a gateway that was killed has left behind is ended by the next one.
func TestAProcessLeftOverIsEnded(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	left := exec.Command(self)
	left.Env = []string{cloudflaretest.Env + "=stubborn", "HOME=/cloudflared-"}
	left.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", left.Process.Pid))
	if err != nil {
		t.Skip("there is no /proc: ", err)
	}
	at := strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+2:]))[19]
	if err := os.WriteFile(filepath.Join(dir, "cloudflared-9999-1.pid"), fmt.Appendf(nil, "%d %s 999999999 1\n", left.Process.Pid, at), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "cloudflared-1"), 0o700); err != nil { // its home
		t.Fatal(err)
	}
	r := run(t, "ok", func(s *cloudflare.Settings) { s.StateDir = dir })
	r.next()
	if err := left.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the process left over: %v", err)
	}
	r.stop()
	r.end()
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 0 {
		t.Errorf("it leaves %v", files)
	}
}
