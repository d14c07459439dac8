package gateway_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/switchbackhq/switchback/services/gateway/docker/dockertest"
	"github.com/switchbackhq/switchback/services/gateway/sshtest"
	"github.com/switchbackhq/switchback/test/system"
)

// Listener and gateway in containers: a callback comes through both. They outlive a kill of the process that started
// them, are adopted by the next one, and end with it in order.
func TestListenerAndGatewayInContainers(t *testing.T) {
	engine := dockertest.Client(t)
	sshd := sshtest.StartSshd(t)
	path := sshtest.StartPath(t, sshd.Addr)
	t.Setenv("SWITCHBACK_DOCKER_LISTENER_IMAGE", dockertest.Image(t, engine, "../../services/listener/cmd/switchback-listener", "listener"))
	t.Setenv("SWITCHBACK_DOCKER_GATEWAY_IMAGE", dockertest.Image(t, engine, "../../services/gateway/cmd/switchback-gateway", "gateway"))
	outside, port, natsPort := system.StartOutside(t), system.FreePort(t), system.FreePort(t)
	conf := file(t, port, outside.URL, sshd, path)
	source, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	inside := strings.NewReplacer("gateway:\n", "gateway:\n  runtime: docker\n", "listener:\n", "listener:\n  runtime: docker\n").Replace(string(source))
	if err := os.WriteFile(conf, []byte(inside), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Cleanup(func() {
		for _, id := range ours(t, engine, natsPort) {
			_, _ = engine.ContainerRemove(context.Background(), id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		}
	})

	first := system.Up(t, dir, conf, natsPort).Ready()
	c := system.Connect(t, fmt.Sprintf("nats://127.0.0.1:%d", natsPort))
	c.Ask("process", "first", `{"data":1}`)
	url, id := called(t, outside, 1)
	c.Await("first", "waiting")
	callBack(t, url, id, "through two containers")
	if got := said(t, c.Await("first", "completed")); got != "through two containers" {
		t.Errorf("the run's output says %q", got)
	}
	system.Eventually(t, "the URL is said", func() error {
		if !strings.Contains(first.Stdout(), "[Gateway] Public URL: "+strings.TrimSuffix(url, "/callback")) {
			return fmt.Errorf("%s", first.Stdout())
		}
		return nil
	})
	before := ours(t, engine, natsPort)
	if len(before) != 2 {
		t.Errorf("there are %d containers of ours", len(before))
	}

	first.Kill()
	second := system.Up(t, dir, conf, natsPort).Ready()
	if after := ours(t, engine, natsPort); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("the containers %v are now %v:\n%s", before, after, second.Stderr())
	}
	c = system.Connect(t, fmt.Sprintf("nats://127.0.0.1:%d", natsPort))
	c.Ask("process", "second", `{"data":2}`)
	url, id = called(t, outside, 2)
	c.Await("second", "waiting")
	callBack(t, url, id, "adopted")
	if got := said(t, c.Await("second", "completed")); got != "adopted" {
		t.Errorf("the run's output says %q", got)
	}
	if code := second.Stop(); code != 0 && code != 143 {
		t.Errorf("up ends with %d", code)
	}
	if left := ours(t, engine, natsPort); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
}

// ours are the ids of the containers that were told of a NATS server.
func ours(t *testing.T, c *client.Client, natsPort int) (ids []string) {
	t.Helper()
	all, err := c.ContainerList(context.Background(), client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", "dev.switchback.owner")})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all.Items {
		got, err := c.ContainerInspect(context.Background(), one.ID, client.ContainerInspectOptions{})
		if err == nil && slices.Contains(got.Container.Config.Env, fmt.Sprintf("SWITCHBACK_NATS_URL=nats://127.0.0.1:%d", natsPort)) {
			ids = append(ids, one.ID)
		}
	}
	return ids
}

// Without an engine up says so in one sentence, and starts nothing.
func TestUpWithoutAnEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	conf := system.Write(t, "switchback.yaml", "listener: {runtime: docker, path: /x}\ncomponent: {type: logger, message: x}\nworkflow: {job: {}}\n")
	dir := t.TempDir()
	p := system.Start(t, dir, nil, system.Binary(t, "switchback"), "up", "-f", conf, "--nats-port", "0")
	if code := p.Wait(); code != 1 {
		t.Errorf("it ends with %d", code)
	}
	want := "Error: runtime: docker needs a Docker engine, and none answers at unix:///nowhere/docker.sock\nTry:   start Docker, set DOCKER_HOST, or leave runtime: docker out\n"
	if p.Stderr() != want || p.Stdout() != "" {
		t.Errorf("it says\n%s%s, want\n%s", p.Stdout(), p.Stderr(), want)
	}
	if _, err := os.Stat(dir + "/.switchback"); err == nil {
		t.Error("it has made its folder")
	}
}
