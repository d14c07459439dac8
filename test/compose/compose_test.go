// Package compose_test runs compose.yaml as it stands on a real engine: under load it scales, kills and restarts, and counts.
package compose_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/test/system"
)

func post(ctx context.Context, h *http.Client, url, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return err
}

// readmeLines are the arguments of the README's commands that begin with docker compose.
func readmeLines(t *testing.T) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if rest, ok := strings.CutPrefix(line, "docker compose "); ok {
			all = append(all, strings.Fields(rest))
		}
	}
	return all
}

// counting makes the stack run the test's own file, with a ledger.
func (s *stack) counting() *ledger {
	s.t.Helper()
	l := newLedger(s)
	env := filepath.Join(s.t.TempDir(), "secrets.env")
	if err := os.WriteFile(env, []byte("LEDGER_URL="+l.URL+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.env = append(s.env, "SWITCHBACK_CONFIG=./test/compose/config", "SWITCHBACK_ENV_FILE="+env)
	return l
}

func TestComposeAsItStands(t *testing.T) {
	s := newStack(t, "one")
	t.Run("the lines of the README show a completed run", func(t *testing.T) {
		lines := readmeLines(t)
		if len(lines) != 2 {
			t.Fatalf("the README has the lines %q, want the start and a run", lines)
		}
		s.compose(lines[0]...)
		if out := s.compose(lines[1]...); !strings.Contains(out, `"url": "http://painter:9100/pictures/`) {
			t.Errorf("the run prints\n%s", out)
		}
		if out := s.compose("run", "--rm", "-T", "switchback", "runs", "list"); !strings.Contains(out, "completed") {
			t.Errorf("the command lists\n%s", out)
		}
		s.compose("--profile", "demo", "rm", "--stop", "--force", "painter")
	})

	t.Run("containers are confined", s.confined)

	l := s.counting()
	s.up()
	c := newClient(s, "nats://nats:4222")
	c.during("three listeners in place of one", true, func() { s.up("--scale", "listener=3", "--scale", "runner=2") })
	c.during("replicas share the work", true, s.spread)
	c.during("rolling restart of the listeners", true, func() { s.each("listener", s.restart) })
	c.during("rolling restart of the runners", true, func() { s.each("runner", s.restart) })
	c.during("restart of gateway, proxy and NATS", false, func() {
		for _, service := range []string{"gateway", "proxy", "nats"} {
			s.each(service, s.restart)
		}
	})
	c.during("kill -9 of each container", false, func() {
		for _, service := range []string{"listener", "runner", "gateway", "proxy", "nats"} {
			s.each(service, s.kill)
		}
	})
	// Other settings: every container of theirs is replaced, those of a service at once.
	s.env = append(s.env, "SWITCHBACK_LOG_LEVEL=warn")
	c.during("an update, and one listener in place of three", true, func() { s.up() })
	c.count(l)

	t.Run("down and up", func(t *testing.T) {
		const sleeping = 50
		var ids []string
		for range sleeping {
			id, err := c.ask(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		system.Eventually(t, "the runs sleep", func() error { return c.waiting(sleeping) })
		s.compose("down")
		s.up()
		for _, id := range ids {
			if err := c.insist(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
	})
	c.count(l)
}

func TestACluster(t *testing.T) {
	s := newStack(t, "three", "deploy/compose/cluster.env")
	l := s.counting()
	s.up("--scale", "listener=2", "--scale", "runner=2")
	c := newClient(s, "nats://nats-1:4222,nats://nats-2:4222,nats://nats-3:4222")
	for _, stream := range []string{"RUNS", "KV_runs", "KV_waits", "KV_definitions"} {
		system.Eventually(t, stream+" lies on three servers", func() error {
			in, err := c.js.Stream(t.Context(), stream)
			if err != nil {
				return err
			}
			if i := in.CachedInfo(); i.Config.Replicas != 3 || i.Cluster == nil || len(i.Cluster.Replicas) != 2 {
				return fmt.Errorf("its replicas are %d: %+v", i.Config.Replicas, i.Cluster)
			}
			return nil
		})
	}
	c.during("kill -9 of each NATS node, the waits' leader first", false, func() {
		for range 3 {
			s.kill(s.containers(c.leader("KV_waits"))[0])
		}
	})
	c.during("rolling restart of the NATS nodes", false, func() {
		for _, node := range []string{"nats-1", "nats-2", "nats-3"} {
			s.each(node, s.restart)
		}
	})
	c.during("kill -9 of the services", false, func() {
		s.each("listener", s.kill)
		s.each("runner", s.kill)
	})
	c.count(l)
}

// each does f to every container of a service, one after the other.
func (s *stack) each(service string, f func(id string)) {
	s.t.Helper()
	for _, id := range s.containers(service) {
		f(id)
	}
}

// spread waits until every listener and every runner has had some of the work.
func (s *stack) spread() {
	s.t.Helper()
	for service, want := range map[string]struct{ count, port, metric string }{
		"listener": {"3", "9464", "switchback_listener_requests_total{"},
		"runner":   {"2", "9465", "switchback_runner_runs_started_total{"},
	} {
		ids := s.containers(service)
		if fmt.Sprint(len(ids)) != want.count {
			s.t.Errorf("%d containers of %s run, want %s", len(ids), service, want.count)
		}
		for _, id := range ids {
			system.Eventually(s.t, service+" "+id[:12]+" has work", func() error {
				ip, err := s.address(s.t.Context(), id, "default")
				if err != nil {
					return err
				}
				req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+ip.String()+":"+want.port+"/metrics", nil)
				if err != nil {
					return err
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					return err
				}
				defer func() { _ = resp.Body.Close() }()
				text, err := io.ReadAll(resp.Body)
				if err == nil && !strings.Contains(string(text), want.metric) {
					err = errors.New("it has counted nothing")
				}
				return err
			})
		}
	}
}

// waiting tells whether n waits stand.
func (c *client) waiting(n int) error {
	kv, err := c.js.KeyValue(c.s.t.Context(), "waits")
	if err != nil {
		return err
	}
	keys, err := kv.ListKeys(c.s.t.Context())
	if err != nil {
		return err
	}
	have := 0
	for range keys.Keys() {
		have++
	}
	if have != n {
		return fmt.Errorf("%d waits stand, want %d", have, n)
	}
	return nil
}

// leader names the server that leads a stream.
func (c *client) leader(stream string) string {
	c.s.t.Helper()
	var name string
	system.Eventually(c.s.t, stream+" has a leader", func() error {
		in, err := c.js.Stream(c.s.t.Context(), stream)
		if err != nil {
			return err
		}
		if i := in.CachedInfo(); i.Cluster != nil {
			name = i.Cluster.Leader
		}
		if name == "" {
			return errors.New("none yet")
		}
		return nil
	})
	return name
}
