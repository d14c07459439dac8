package cloudflare_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/services/gateway/cloudflare"
	"github.com/switchbackhq/switchback/services/gateway/docker"
	"github.com/switchbackhq/switchback/services/gateway/docker/dockertest"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// The stand-in in a container, on this machine's network and on one of its own: it is found, it is asked how it is, and
// nothing is left of it.
func TestInAContainer(t *testing.T) {
	client := dockertest.Client(t)
	binary := filepath.Join(t.TempDir(), "standin")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -trimpath")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the stand-in: %v\n%s", err, out)
	}
	image := dockertest.ImageOf(t, client, binary, "cloudflared")
	credentials := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(credentials, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"host", "bridge"} {
		t.Run(network, func(t *testing.T) {
			e, err := docker.Open(docker.Settings{Network: network, CloudflaredImage: image}, t.Name(), slog.New(slog.NewTextHandler(t.Output(), nil)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(e.Close)
			inside := func(s *cloudflare.Settings) { s.Binary, s.Engine = "/nowhere", e }
			r := run(t, "ok", inside)
			if o := r.next(); o.URL != "https://quick.trycloudflare.test" {
				t.Errorf("%+v", o)
			}
			r.stop()
			if err := r.end(); err != nil {
				t.Errorf("%v", err)
			}
			r = run(t, "ok", func(s *cloudflare.Settings) {
				inside(s)
				s.Tunnel, s.CredentialsFile, s.Hostname = "t", credentials, "x.example.com"
			})
			if o := r.next(); o.URL != "https://x.example.com" {
				t.Errorf("%+v", o)
			}
			r.stop()
			if err := r.end(); err != nil {
				t.Errorf("%v", err)
			}
			if failed := tunnel.Classify(run(t, "429", inside).end()); failed.Class != tunnel.Quota {
				t.Errorf("%s: %s", failed.Class, failed)
			}
		})
	}
}

// What is served for cloudflared is where a container gets to.
func TestWhereAContainerFindsTheProxy(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	e, err := docker.Open(docker.Settings{}, t.Name(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	served := make(chan string, 1)
	err = cloudflare.New(cloudflare.Settings{Engine: e}).Run(t.Context(), tunnel.Spec{Port: 1, Target: "localhost:1", Serve: func(ctx context.Context, l net.Listener) error {
		served <- l.Addr().String()
		<-ctx.Done()
		return l.Close()
	}}, func(tunnel.Observation) {})
	if failed := tunnel.Classify(err); failed.Class != tunnel.Network || !strings.Contains(failed.Message, "none answers at unix:///nowhere") || failed.Hint == "" {
		t.Errorf("%+v", failed)
	}
	if at := <-served; !strings.HasPrefix(at, "127.0.0.1:") {
		t.Errorf("served on %s", at)
	}
}
