package deploy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/test/system"
)

// edgeSystem is a listener on a public machine, and runners and streams on a private one, with the files of deploy/edge.
type edgeSystem struct {
	t         *testing.T
	public    *natsServer
	private   *natsServer
	privately []func(*server.Options) // the same ports and data after a restart
	file      string
	url       string // of the callbacks

	runner, forwarder *system.Process
}

func startEdge(t *testing.T) *edgeSystem {
	t.Helper()
	environment(t)
	cert, key := certificate(t)
	t.Setenv("NATS_TLS_CERT", cert)
	t.Setenv("NATS_TLS_KEY", key)
	t.Setenv("NATS_EDGE_CA", cert)
	t.Setenv("NATS_EDGE_PASSWORD", `"`+password("edge")+`"`)
	leaf := system.FreePort(t)
	t.Setenv("NATS_EDGE_URL", fmt.Sprintf(`"tls://link:%s@127.0.0.1:%d"`, password("link"), leaf))
	e := &edgeSystem{t: t}
	e.public = start(t, "edge/public.conf", func(o *server.Options) {
		o.ServerName, o.StoreDir, o.LeafNode.Host, o.LeafNode.Port = "public", t.TempDir(), "127.0.0.1", leaf
	})
	command(t, e.public, "admin", "provision", "--edge")
	data, port := t.TempDir(), system.FreePort(t)
	e.privately = []func(*server.Options){func(o *server.Options) {
		o.ServerName, o.StoreDir, o.Port, o.LeafNode.ReconnectInterval = "private", data, port, 100*time.Millisecond
	}}
	e.startPrivate()
	command(t, e.private, "admin", "provision")

	callbacks := system.FreePort(t)
	e.url = fmt.Sprintf("http://127.0.0.1:%d/done", callbacks)
	e.file = system.Write(t, "switchback.yaml", fmt.Sprintf(`
listeners:
  - id: calls
    host: 127.0.0.1
    port: %d
    path: /done
    identify_by: ${body.ref}
    dedupe_by: ${body.delivery}
    result: ${body.result}
workflow:
  id: gate
  job: {type: wait, wait_for: "gate-${input.n}", timeout: 1h}
`, callbacks))
	l := system.Service(t, "listener", e.file, e.public.as("listener"))
	e.startServices()
	l.Ready()
	return e
}

func (e *edgeSystem) startPrivate() {
	e.t.Helper()
	e.private = start(e.t, "edge/private.conf", e.privately...)
}

func (e *edgeSystem) startServices() {
	e.t.Helper()
	e.runner = system.Service(e.t, "runner", e.file, append(e.private.as("runner"), "SWITCHBACK_STREAMS_REDELIVERY=2s"))
	e.startForwarder()
	e.runner.Ready()
}

func (e *edgeSystem) startForwarder() {
	e.t.Helper()
	e.forwarder = system.Service(e.t, "forwarder", "", append(e.private.as("forwarder"),
		"SWITCHBACK_EDGE_URL="+e.private.ClientURL(), "SWITCHBACK_EDGE_USER=edge", "SWITCHBACK_EDGE_PASSWORD="+password("edge"), "SWITCHBACK_EDGE_DOMAIN=edge"))
	e.forwarder.Ready()
}

// call posts a callback and wants 200.
func (e *edgeSystem) call(ref, delivery, result string) {
	e.t.Helper()
	body := fmt.Sprintf(`{"ref":%q,"result":{"v":%q}`, ref, result)
	if delivery != "" {
		body += fmt.Sprintf(`,"delivery":%q`, delivery)
	}
	if status, answer, err := system.Post(e.t.Context(), e.url, body+"}"); err != nil || status != http.StatusOK {
		e.t.Fatalf("callback for %s: %d %s %v", ref, status, answer, err)
	}
}

// js is JetStream as the admin of one side sees it.
func js(t *testing.T, n *natsServer) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(n.ClientURL(), nats.UserInfo("admin", password("admin")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// callbacks counts those for each id in the stream of waits.
func (e *edgeSystem) callbacks() map[string]uint64 {
	e.t.Helper()
	s, err := js(e.t, e.private).Stream(e.t.Context(), "KV_waits")
	if err != nil {
		e.t.Fatal(err)
	}
	info, err := s.Info(e.t.Context(), jetstream.WithSubjectFilter("callback.>"))
	if err != nil {
		e.t.Fatal(err)
	}
	return info.State.Subjects
}

// held is how many messages wait on the public machine.
func (e *edgeSystem) held() uint64 {
	e.t.Helper()
	s, err := js(e.t, e.public).Stream(e.t.Context(), "EDGE")
	if err != nil {
		e.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func (e *edgeSystem) awaitHeld(want uint64) {
	e.t.Helper()
	system.Eventually(e.t, fmt.Sprintf("%d messages wait on the public machine", want), func() error {
		if n := e.held(); n != want {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
}

func (e *edgeSystem) awaitRuns(status string, want int) {
	e.t.Helper()
	system.Eventually(e.t, fmt.Sprintf("%d runs are %s", want, status), func() error {
		out := command(e.t, e.private, "controller", "runs", "list", "--status", status)
		if n := max(0, strings.Count(out, "\n")); n != want {
			return fmt.Errorf("%d:\n%s", n, out)
		}
		return nil
	})
}

// The private side is away: the listener takes callbacks all the same. When it is back, each is delivered as if it had been published there:
// once, with its id and its time to live.
func TestEdgeWhileThePrivateSideIsAway(t *testing.T) {
	e := startEdge(t)
	const n = 15
	for i := range n {
		command(t, e.private, "controller", "run", "gate", "-i", fmt.Sprintf("n=%d", i), "--detach")
	}
	e.awaitRuns("waiting", n)
	e.call("gate-0", "d-0", "through the link")
	e.awaitRuns("completed", 1)

	e.runner.Kill()
	e.forwarder.Kill()
	e.private.stop()
	for i := 1; i < n; i++ {
		e.call(fmt.Sprintf("gate-%d", i), fmt.Sprintf("d-%d", i), "while away")
	}
	e.call("gate-1", "d-1", "a second time") // the same delivery
	e.call("early", "", "before anybody waits")
	e.call("large", "d-large", strings.Repeat("l", 2<<20))
	if got := e.held(); got != n-1+2 {
		t.Errorf("%d messages are held, want %d", got, n-1+2)
	}
	heldThere := func(id string) nats.Header {
		t.Helper()
		s, err := js(t, e.public).Stream(t.Context(), "EDGE")
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.GetLastMsgForSubject(t.Context(), "callback."+id)
		if err != nil {
			t.Fatal(err)
		}
		return m.Header
	}
	there := map[string]nats.Header{"gate-7": heldThere("gate-7"), "early": heldThere("early"), "large": heldThere("large")}

	e.startPrivate()
	e.startServices()
	e.awaitRuns("completed", n)
	e.awaitHeld(0)
	counts := e.callbacks()
	for i := range n {
		if c := counts[fmt.Sprintf("callback.gate-%d", i)]; c != 1 {
			t.Errorf("gate-%d has %d callbacks", i, c)
		}
	}
	s, err := js(t, e.private).Stream(t.Context(), "KV_waits")
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		"gate-7": `{"v":"while away"}`, "early": `{"v":"before anybody waits"}`, "large": "", // whose payload lies in the object store
	} {
		m, err := s.GetLastMsgForSubject(t.Context(), "callback."+id)
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if string(m.Data) != want {
			t.Errorf("%s: %.80q", id, m.Data)
		}
		for _, name := range []string{"Nats-Msg-Id", "Nats-TTL", "Switchback-Endpoint", "Switchback-Received-At"} {
			got, had := m.Header.Get(name), there[id].Get(name)
			if had == "" && name == "Nats-Msg-Id" && strings.HasPrefix(got, "edge.") { // it was given one for the way
				continue
			}
			if got == "" || got != had {
				t.Errorf("%s: %s is %q, was %q", id, name, got, had)
			}
		}
	}
	store, err := js(t, e.private).ObjectStore(t.Context(), "payloads")
	if err != nil {
		t.Fatal(err)
	}
	large, err := s.GetLastMsgForSubject(t.Context(), "callback.large")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := store.GetBytes(t.Context(), large.Header.Get("Switchback-Object")); err != nil || len(data) < 2<<20 {
		t.Errorf("the large payload: %d bytes, %v", len(data), err)
	}
	for side, n := range map[string]*natsServer{"public": e.public, "private": e.private} {
		if refused := n.log.with("Violation"); len(refused) > 0 {
			t.Errorf("the %s side has refused what is needed:\n%s", side, strings.Join(refused, "\n"))
		}
	}
}

// Forwarders are killed while callbacks come in: nothing is lost, nothing doubled, and those of one id keep their order.
func TestEdgeForwarderIsKilled(t *testing.T) {
	e := startEdge(t)
	const ids, each = 5, 60
	for i := range each {
		for id := range ids {
			e.call(fmt.Sprintf("id-%d", id), "", fmt.Sprint(i))
		}
		if i%20 == 10 {
			e.forwarder.Kill()
			e.startForwarder()
		}
	}
	e.awaitHeld(0)
	s, err := js(t, e.private).Stream(t.Context(), "KV_waits")
	if err != nil {
		t.Fatal(err)
	}
	for id := range ids {
		subject := fmt.Sprintf("callback.id-%d", id)
		from := uint64(0)
		for i := range each {
			m, err := s.GetMsg(t.Context(), from+1, jetstream.WithGetMsgSubject(subject))
			if err != nil {
				t.Fatalf("%s: after %d of %d: %v", subject, i, each, err)
			}
			if want := fmt.Sprintf(`{"v":"%d"}`, i); string(m.Data) != want {
				t.Fatalf("%s: number %d is %s, want %s", subject, i, m.Data, want)
			}
			from = m.Sequence
		}
		if m, err := s.GetMsg(t.Context(), from+1, jetstream.WithGetMsgSubject(subject)); err == nil {
			t.Errorf("%s: one too many: %s", subject, m.Data)
		}
	}
}

// Who has the public machine reaches nothing of the private side: what he publishes ends in an account with nothing in it.
func TestEdgeKeepsTheSidesApart(t *testing.T) {
	e := startEdge(t)
	nc, err := nats.Connect(e.public.ClientURL(), nats.UserInfo("admin", password("admin")))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, domain := range []string{"$JS.API", "$JS.hub.API"} {
		m, err := nc.Request(domain+".STREAM.INFO.KV_waits", nil, 500*time.Millisecond)
		if err == nil && strings.Contains(string(m.Data), `"config"`) {
			t.Errorf("%s answers: %s", domain, m.Data)
		}
	}
	// A header that means something to JetStream does not get over; the callback does.
	m := nats.NewMsg("callback.x")
	m.Data = []byte(`{"v":1}`)
	m.Header.Set("Nats-Rollup", "all")
	m.Header.Set("Switchback-Outcome", "succeeded")
	if ack, err := nc.RequestMsg(m, 5*time.Second); err == nil && !strings.Contains(string(ack.Data), "rollup") {
		t.Errorf("a rollup is taken: %s", ack.Data)
	}
	before := len(e.callbacks())
	m.Header.Del("Nats-Rollup")
	m.Header.Set("Switchback-Reply-To", "_INBOX.x")
	if _, err := nc.RequestMsg(m, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	bad := nats.NewMsg("callback.bad")
	bad.Header.Set("Switchback-Outcome", "odd")
	if _, err := nc.RequestMsg(bad, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	e.awaitHeld(0)
	if after := len(e.callbacks()); after != before+1 {
		t.Errorf("%d ids have callbacks, before %d", after, before)
	}
	dead, err := js(t, e.private).Stream(t.Context(), "DEAD")
	if err != nil || dead.CachedInfo().State.Msgs != 1 {
		t.Errorf("what is no callback is not among the dead: %+v, %v", dead, err)
	}
}
