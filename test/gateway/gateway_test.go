// Package gateway_test takes callbacks through a real sshd: from the run to the public address and back, also when the way is cut.
package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/services/gateway/sshtest"
	"github.com/switchbackhq/switchback/test/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// file is the asynchronous example of the documentation, with a tunnel through an SSH server.
func file(t *testing.T, port int, outside string, sshd *sshtest.Sshd, path *sshtest.Path) string {
	t.Helper()
	return system.Write(t, "switchback.yaml", fmt.Sprintf(`
gateway:
  type: ssh-tunnel
  port: "0:%[1]d"
  connection:
    host: 127.0.0.1
    port: %[3]d
    known_hosts: %[4]s
    retry_interval: 100ms
    auth: {type: keyfile, username: %[5]s, keyfile: %[6]s}

listener:
  type: http-callback
  host: 127.0.0.1
  port: %[1]d
  path: /callback
  identify_by: ${body.task_id}
  result: ${body.result}

components:
  external-service:
    type: http-client
    base_url: %[2]s
    path: /process
    method: POST
    body:
      data: ${input.data}
      callback_url: ${gateway:%[1]d.public_url}/callback
      callback_id: ${context.run_id}
    output: ${response}

workflow:
  id: process
  title: External Service with Gateway
  jobs:
    - id: process
      component: external-service
      input: ${input}
      output: ${output}
`, port, outside, path.Port, sshtest.KnownHosts(t, path.Addr, sshd.HostKey), sshd.User, sshd.Keyfile))
}

// called gives the address and the id that the outside service was told, by the n-th request.
func called(t *testing.T, o *system.Outside, n int) (url, id string) {
	t.Helper()
	system.Eventually(t, "the outside service is asked", func() error {
		if got := len(o.Calls()); got < n {
			return fmt.Errorf("asked %d times", got)
		}
		return nil
	})
	body := o.Calls()[n-1].Body
	url, _ = body["callback_url"].(string)
	id, _ = body["callback_id"].(string)
	return url, id
}

// callBack sends again what is answered 503, as senders do: a container that outlived NATS may not be connected again yet.
func callBack(t *testing.T, url, id, result string) {
	t.Helper()
	system.Eventually(t, "the callback is taken", func() error {
		status, body, err := system.Post(t.Context(), url, fmt.Sprintf(`{"task_id":%q,"result":{"said":%q}}`, id, result))
		switch {
		case err == nil && status == http.StatusServiceUnavailable:
			return fmt.Errorf("callback to %s: %d %s", url, status, body)
		case err != nil || status != http.StatusOK:
			t.Fatalf("callback to %s: %d %s %v", url, status, body, err)
		}
		return nil
	})
}

func said(t *testing.T, run *system.Run) string {
	t.Helper()
	var output struct{ Said string }
	if err := json.Unmarshal(run.Output, &output); err != nil {
		t.Fatalf("output %s: %v", run.Output, err)
	}
	return output.Said
}

func TestACallbackThroughATunnel(t *testing.T) {
	sshd := sshtest.StartSshd(t)
	path := sshtest.StartPath(t, sshd.Addr)
	outside, port, natsPort := system.StartOutside(t), system.FreePort(t), system.FreePort(t)
	up := system.Up(t, t.TempDir(), file(t, port, outside.URL, sshd, path), natsPort).Ready()
	nats := fmt.Sprintf("nats://127.0.0.1:%d", natsPort)
	c := system.Connect(t, nats)

	// The run may begin before the tunnel is up: it waits for the URL, and never sends an empty one.
	c.Ask("process", "first", `{"data":1}`)
	url, id := called(t, outside, 1)
	if !strings.HasPrefix(url, "http://127.0.0.1:") || strings.Contains(url, fmt.Sprintf(":%d/", port)) || !strings.HasSuffix(url, "/callback") {
		t.Errorf("the outside service was told %q", url)
	}
	if want := "[Gateway] Public URL: " + strings.TrimSuffix(url, "/callback") + "\n"; !strings.Contains(up.Stdout(), want) {
		t.Errorf("up says\n%swithout %s", up.Stdout(), want)
	}
	c.Await("first", "waiting")
	callBack(t, url, id, "hello")
	if got := said(t, c.Await("first", "completed")); got != "hello" {
		t.Errorf("the run's output says %q", got)
	}

	// The way is cut while a run waits: the tunnel comes back, at another address, and the callback finds its run.
	c.Ask("process", "second", `{"data":2}`)
	before, id := called(t, outside, 2)
	c.Await("second", "waiting")
	path.Cut()
	after := ""
	system.Eventually(t, "the tunnel is up at another address", func() error {
		s, err := list(t, nats)
		if err != nil {
			return err
		}
		if s.Status != "up" || s.Generation != 2 {
			return fmt.Errorf("%+v", s)
		}
		after = s.URL + "/callback"
		return nil
	})
	if after == before {
		t.Errorf("the address is the same: %s", after)
	}
	// Where the callback was to go is in the run.
	attempt := c.Await("second", "waiting").Jobs["process"].Attempts[0]
	if got, want := attempt.Requests[0].Addresses[fmt.Sprintf("gateway:%d.public_url", port)]+"/callback", before; got != want {
		t.Errorf("the run says that the address was %s, and it was %s", got, want)
	}
	callBack(t, after, id, "after the cut")
	if got := said(t, c.Await("second", "completed")); got != "after the cut" {
		t.Errorf("the run's output says %q", got)
	}
	if code := up.Stop(); code != 0 && code != 143 {
		t.Errorf("up ends with %d", code)
	}
}

// gatewayStatus is a line of `switchback gateways -o json`.
type gatewayStatus struct {
	Status     string `json:"status"`
	URL        string `json:"public_url"`
	Generation int    `json:"generation"`
}

func list(t *testing.T, nats string) (gatewayStatus, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), system.Binary(t, "switchback"), "gateways", "--nats", nats, "-o", "json").Output()
	if err != nil {
		return gatewayStatus{}, err
	}
	var all []gatewayStatus
	if err := json.Unmarshal(out, &all); err != nil || len(all) != 1 {
		return gatewayStatus{}, fmt.Errorf("%s: %w", out, err)
	}
	return all[0], nil
}

// The doctor walks every step, and says which one fails and what to do.
func TestGatewaysCheck(t *testing.T) {
	sshd := sshtest.StartSshd(t)
	path := sshtest.StartPath(t, sshd.Addr)
	outside := system.StartOutside(t)
	port := system.FreePort(t) // nothing listens there
	conf := file(t, port, outside.URL, sshd, path)
	out, err := exec.CommandContext(t.Context(), system.Binary(t, "switchback"), "gateways", "check", "-f", conf).CombinedOutput()
	if err == nil {
		t.Errorf("a check with a step that fails ends with 0:\n%s", out)
	}
	for _, want := range []string{
		"FAIL  local port", "nothing listens on localhost:", "fix: start what is to listen there", "ok    DNS", "ok    TCP", "-     TLS", "ok    sign in", "ok    bind",
		"ok    public URL", "Error: the check fails at: local port",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out, err = exec.CommandContext(t.Context(), system.Binary(t, "switchback"), "gateways", "check", "-f", conf, "-o", "json").Output()
	var steps []struct {
		Name, State, Fix string
		Port             int
		Millis           float64 `json:"duration_ms"`
	}
	if bad := json.Unmarshal(out, &steps); bad != nil || err == nil || len(steps) != 7 {
		t.Fatalf("%v, %v:\n%s", bad, err, out)
	}
	for _, s := range steps {
		failed := s.Name == "local port"
		if s.Port != port || (s.State == "failed") != failed || (s.Fix != "") != failed || (s.State == "none") != (s.Millis == 0) {
			t.Errorf("step %+v", s)
		}
	}
}

// A port has a public URL without any file.
func TestTunnel(t *testing.T) {
	sshd := sshtest.StartSshd(t)
	outside := system.StartOutside(t)
	port := outside.URL[strings.LastIndex(outside.URL, ":")+1:]
	p := system.Start(t, t.TempDir(), nil, system.Binary(t, "switchback"), "tunnel", port,
		"--ssh", fmt.Sprintf("%s@127.0.0.1:%d", sshd.User, sshd.Port), "--key", sshd.Keyfile, "--known-hosts", sshd.KnownHosts)
	url := ""
	system.Eventually(t, "it says the URL", func() error {
		_, after, ok := strings.Cut(p.Stdout(), "[Gateway] Public URL: ")
		if !ok {
			return fmt.Errorf("%s%s", p.Stdout(), p.Stderr())
		}
		url = strings.TrimSpace(after)
		return nil
	})
	if status, body, err := system.Post(t.Context(), url, `{}`); err != nil || status != http.StatusAccepted {
		t.Errorf("%d %s %v", status, body, err)
	}
	if code := p.Stop(); code != 0 && code != 143 {
		t.Errorf("it ends with %d", code)
	}
}
