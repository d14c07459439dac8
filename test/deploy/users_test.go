package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/services/gateway/sshtest"
	"github.com/switchbackhq/switchback/test/system"
)

// workFile uses what each service can do with NATS: callbacks that are remembered and signed over the public address, a trigger,
// a tunnel with its workflow, sub-runs, delays, deadlines.
func workFile(t *testing.T, port, trigger int, outside string, sshd *sshtest.Sshd) string {
	t.Helper()
	return system.Write(t, "switchback.yaml", fmt.Sprintf(`
gateway:
  type: ssh-tunnel
  port: "0:%[1]d"
  on_url: note
  connection:
    host: 127.0.0.1
    port: %[4]d
    known_hosts: %[5]s
    auth: {type: keyfile, username: %[6]s, keyfile: %[7]s}

listeners:
  - id: calls
    host: 127.0.0.1
    port: %[1]d
    callbacks:
      - path: /done
        identify_by: ${body.ref}
        dedupe_by: ${body.delivery}
        dedupe_for: 1h
        status: ${body.state}
        success_when: ok
        progress: ${body.percent}
        result: ${body.result}
      - path: /token
        identify_by: ${body.ref}
        verify: {type: token, header: X-Token, secret: s3cret}
  - id: starts
    type: http-trigger
    host: 127.0.0.1
    port: %[2]d
    path: /start
    workflow: outer
    input: ${body}
    dedupe_by: ${body.delivery}

components:
  outside:
    type: http-client
    base_url: %[3]s
    path: /work
    body: {callback: "${gateway:%[1]d.public_url}/done", ref: "${context.run_id}"}
    completion: {type: callback, wait_for: "${context.run_id}"}
  log: {type: logger, message: "${input.public_url | x}"}

workflows:
  note:
    job: {id: say, component: log, input: "${input}"}
  inner:
    job: {id: ask, component: outside}
  outer:
    jobs:
      - {id: pause, type: delay, duration: 100ms}
      - {id: sub, type: workflow, workflow: inner, depends_on: pause}
  late:
    job: {id: wait, type: wait, wait_for: never, timeout: 300ms}
  gate:
    concurrency: 2
    job: {id: wait, type: wait, wait_for: "gate-${input.n}"}
`, port, trigger, outside, sshd.Port, sshtest.KnownHosts(t, sshd.Addr, sshd.HostKey), sshd.User, sshd.Keyfile))
}

// service runs a service as its user.
func service(t *testing.T, n *natsServer, name, file string) *system.Process {
	t.Helper()
	return system.Service(t, name, file, n.as(name))
}

// command runs the command as a user and gives what it prints.
func command(t *testing.T, n *natsServer, user string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), system.Binary(t, "switchback"), args...)
	cmd.Env = append(os.Environ(), n.as(user)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("switchback %s as %s: %v\n%s%s", strings.Join(args, " "), user, err, out, errs.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// ended waits for a run of a workflow with a status, and gives its id.
func ended(t *testing.T, n *natsServer, workflow, status string) (id string) {
	t.Helper()
	system.Eventually(t, workflow+" is "+status, func() error {
		var runs []struct{ ID, Workflow, Status string }
		out := command(t, n, "controller", "runs", "list", "-o", "json")
		if err := json.Unmarshal([]byte(out), &runs); err != nil {
			return err
		}
		for _, r := range runs {
			if r.Workflow == workflow && r.Status == status {
				id = r.ID
				return nil
			}
		}
		return fmt.Errorf("%s", out)
	})
	return id
}

// scrape asks for the metrics, of which a runner has some from JetStream.
func scrape(t *testing.T, p *system.Process) {
	t.Helper()
	resp, err := http.Get("http://" + p.Admin() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("/metrics answers %s %v", resp.Status, err)
	}
	if !bytes.Contains(body, []byte("\nswitchback_runner_active ")) {
		return
	}
	for _, stream := range []string{"RUNS", "KV_waits", "KV_runs", "RECEIVED", "DEAD"} {
		if !bytes.Contains(body, []byte(`switchback_jetstream_stream_messages{stream="`+stream+`"}`)) {
			t.Errorf("a runner does not see what stream %s holds", stream)
		}
	}
}

// Each service does its whole work with its user, and is refused nothing.
func TestUsersDoTheirWork(t *testing.T) {
	environment(t)
	n := start(t, "nats/server.conf")
	sshd := sshtest.StartSshd(t)
	outside, port, trigger := system.StartOutside(t), system.FreePort(t), system.FreePort(t)
	file := workFile(t, port, trigger, outside.URL, sshd)

	// Services that start first wait for the streams.
	l, r, g := service(t, n, "listener", file), service(t, n, "runner", file), service(t, n, "gateway", file)
	command(t, n, "admin", "provision")
	l.Ready()
	r.Ready()
	g.Ready()
	ended(t, n, "note", "completed") // the gateway has asked for it

	post := func(url, body string, want int) string {
		t.Helper()
		status, answer, err := system.Post(t.Context(), url, body)
		if err != nil || status != want {
			t.Fatalf("POST %s %s: %d %s %v, want %d", url, body, status, answer, err, want)
		}
		return answer
	}
	start := fmt.Sprintf("http://127.0.0.1:%d/start", trigger)
	post(start, `{"delivery":"d1"}`, http.StatusAccepted)
	post(start, `{"delivery":"d1"}`, http.StatusAccepted)
	system.Eventually(t, "the outside service is asked", func() error {
		if n := len(outside.Calls()); n != 1 {
			return fmt.Errorf("asked %d times", n)
		}
		return nil
	})
	call := outside.Calls()[0]
	done, _ := call.Body["callback"].(string)
	ref, _ := call.Body["ref"].(string)
	post(done, fmt.Sprintf(`{"ref":%q,"delivery":"p1","state":"busy","percent":50}`, ref), http.StatusOK)
	post(done, fmt.Sprintf(`{"ref":%q,"delivery":"c1","state":"ok","result":{"n":%q}}`, ref, strings.Repeat("n", 2<<20)), http.StatusOK)
	if answer := post(done, fmt.Sprintf(`{"ref":%q,"delivery":"c1","state":"ok"}`, ref), http.StatusOK); !strings.Contains(answer, `"duplicate":true`) {
		t.Errorf("the delivery is not remembered: %s", answer)
	}
	ended(t, n, "outer", "completed")
	ended(t, n, "inner", "completed")

	command(t, n, "controller", "run", "late", "--detach")
	late := ended(t, n, "late", "failed")
	command(t, n, "controller", "runs", "retry", late)
	command(t, n, "controller", "run", "gate", "-i", "n=1", "--detach")
	command(t, n, "controller", "run", "gate", "-i", "n=2", "--detach")
	system.Eventually(t, "two waits stand", func() error {
		if out := command(t, n, "controller", "waits", "list"); !strings.Contains(out, "gate-1") || !strings.Contains(out, "gate-2") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	command(t, n, "controller", "run", "gate", "-i", "n=3", "--detach") // and waits for its turn
	command(t, n, "controller", "waits", "resolve", "gate-1", `{"open":true}`)
	cancelled := ended(t, n, "gate", "waiting")
	command(t, n, "controller", "runs", "cancel", cancelled)
	ended(t, n, "gate", "cancelled")
	ended(t, n, "gate", "completed")
	command(t, n, "controller", "callbacks", "send", "for-nobody", `{}`)
	command(t, n, "controller", "callbacks", "list")
	command(t, n, "controller", "runs", "show", late)
	command(t, n, "controller", "gateways", "list")
	command(t, n, "admin", "runs", "list")
	for _, p := range []*system.Process{l, r, g} {
		scrape(t, p)
		if code := p.Stop(); code != 0 && code != 143 {
			t.Errorf("ends with %d", code)
		}
	}
	if refused := n.log.with("Violation"); len(refused) > 0 {
		t.Errorf("the server has refused what is needed:\n%s", strings.Join(refused, "\n"))
	}
}

// act is one thing that a user tries.
type act struct {
	publish   string
	subscribe string
}

func pub(subject string) act { return act{publish: subject} }
func sub(subject string) act { return act{subscribe: subject} }

// What each user must not do is refused, and one thing that it may do is not.
func TestUsersAreRefused(t *testing.T) {
	environment(t)
	n := start(t, "nats/server.conf")
	command(t, n, "admin", "provision")
	makes := []act{
		pub("$JS.API.STREAM.CREATE.X"), pub("$JS.API.STREAM.UPDATE.RUNS"), pub("$JS.API.STREAM.DELETE.RUNS"), pub("$JS.API.STREAM.PURGE.KV_waits"),
		pub("$JS.API.STREAM.MSG.DELETE.KV_runs"), pub("$JS.API.STREAM.SNAPSHOT.KV_runs"), pub("$JS.API.CONSUMER.DELETE.RUNS.runner"),
		pub("$JS.API.CONSUMER.CREATE.RUNS.other"), pub("$JS.API.CONSUMER.DURABLE.CREATE.RUNS.other"), pub("$SYS.REQ.ACCOUNT.PING.CONNZ"), sub(">"), sub("$SYS.>"),
	}
	for user, c := range map[string]struct{ may, mayNot []act }{
		"listener": {
			[]act{pub("callback.x"), pub("run.request.w"), pub("received.l.e.v"), sub("_INBOX_listener.x")},
			[]act{
				pub("$KV.waits.x"), pub("timer.x"), pub("timeout.x"), pub("$KV.runs.x"), pub("$KV.gateways.8090"), pub("$KV.definitions.x"), pub("run.event.r.completed"),
				pub("run.command.r.cancel"), pub("dead.x.y"), pub("_INBOX_runner.x"), pub("_INBOX.x"),
				pub("$JS.API.STREAM.INFO.RUNS"), pub("$JS.API.STREAM.INFO.KV_waits"), pub("$JS.API.STREAM.INFO.KV_runs"), pub("$JS.API.STREAM.NAMES"),
				pub("$JS.API.STREAM.MSG.GET.KV_waits"), pub("$JS.API.DIRECT.GET.KV_waits"), pub("$JS.API.DIRECT.GET.KV_waits.callback.x"), pub("$JS.API.DIRECT.GET.KV_runs.$KV.runs.x"),
				pub("$JS.API.STREAM.MSG.GET.RECEIVED"), pub("$JS.API.STREAM.MSG.GET.OBJ_payloads"), pub("$JS.API.STREAM.PURGE.OBJ_payloads"),
				pub("$JS.API.CONSUMER.MSG.NEXT.RUNS.runner"), pub("$JS.API.CONSUMER.CREATE.KV_waits.x"), pub("$JS.ACK.RUNS.runner.1.1.1.1.1"),
				sub("callback.>"), sub("run.event.>"), sub("run.request.>"), sub("_INBOX.>"), sub("_INBOX_runner.>"), sub("$KV.>"),
			},
		},
		"runner": {
			[]act{pub("$KV.waits.x"), pub("timer.x"), pub("timeout.x"), pub("$KV.runs.x"), pub("callback.x"), sub("run.command.>"), sub("_INBOX_runner.x")},
			[]act{
				pub("received.l.e.v"), pub("$KV.gateways.8090"), pub("$KV.leases.x"), pub("$KV.deliveries.x"), pub("$JS.API.STREAM.MSG.GET.RECEIVED"),
				pub("$JS.API.CONSUMER.CREATE.KV_waits.x"), sub("callback.>"), sub("run.request.>"), sub("_INBOX_listener.>"), sub("_INBOX.>"),
			},
		},
		"gateway": {
			[]act{pub("$KV.leases.x"), pub("$KV.gateways.8090"), pub("run.request.w"), sub("_INBOX_gateway.x")},
			[]act{
				pub("callback.x"), pub("$KV.waits.x"), pub("$KV.runs.x"), pub("timer.x"), pub("run.command.r.cancel"), pub("$JS.API.STREAM.INFO.RUNS"),
				pub("$JS.API.DIRECT.GET.KV_runs.$KV.runs.x"), pub("$JS.API.DIRECT.GET.KV_waits.callback.x"), sub("run.event.>"), sub("_INBOX.>"),
			},
		},
		"controller": {
			[]act{pub("run.request.w"), pub("callback.x"), pub("run.command.r.cancel"), sub("run.event.>"), sub("_INBOX_controller.x")},
			[]act{
				pub("$KV.waits.x"), pub("$KV.runs.x"), pub("timer.x"), pub("timeout.x"), pub("$KV.gateways.8090"), pub("received.l.e.v"),
				pub("$JS.API.CONSUMER.MSG.NEXT.RUNS.runner"), pub("$JS.API.CONSUMER.CREATE.KV_waits.runner.callback.>"), pub("$JS.API.CONSUMER.DELETE.KV_waits.runner"), sub("callback.>"), sub("_INBOX_runner.>"),
			},
		},
	} {
		t.Run(user, func(t *testing.T) {
			nc := n.connect(t, user)
			for _, a := range c.may {
				if err := try(nc, a); err != nil {
					t.Errorf("%+v is refused: %v", a, err)
				}
			}
			for _, a := range append(c.mayNot, makes...) {
				if err := try(nc, a); err == nil {
					t.Errorf("%+v is allowed", a)
				}
			}
		})
	}
	if _, err := nats.Connect(n.ClientURL()); err == nil {
		t.Error("somebody without a name is let in")
	}
	if _, err := nats.Connect(n.ClientURL(), nats.UserInfo("admin", "admin")); err == nil {
		t.Error("a wrong password is taken")
	}
}

// try does what a says and gives the server's refusal. The server answers in order: after the flush it is here.
func try(nc *nats.Conn, a act) error {
	before := nc.LastError()
	if a.subscribe != "" {
		s, err := nc.SubscribeSync(a.subscribe)
		if err != nil {
			return err
		}
		defer func() { _ = s.Unsubscribe() }()
	} else if err := nc.Publish(a.publish, []byte("{}")); err != nil {
		return err
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	if after := nc.LastError(); after != before { //nolint:errorlint // the very same: each refusal is a new one
		return after
	}
	return nil
}
