package gateway_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/gateway"
	"github.com/switchbackhq/switchback/services/gateway/sshtest"
)

// A tunnel through a real sshd: published when it is proved, mended when it is cut, the URL told when it is new.
func TestAnSSHTunnelFromStartToEnd(t *testing.T) {
	_, b := provisioned(t)
	sshd := sshtest.StartSshd(t)
	path := sshtest.StartPath(t, sshd.Addr)
	port := target(t, "the local service")
	file := sshGateway(sshd, sshtest.KnownHosts(t, path.Addr, sshd.HostKey), path.Port, "  on_url: register", fmt.Sprintf(`"0:%d"`, port)) + `
components: {say: {type: logger, message: hi}}
workflow: {id: register, jobs: [{id: say, component: say}]}
`
	r := start(t, gateway.Config{LeaseTTL: 5 * time.Second, ProbeInterval: 100 * time.Millisecond}, gateway.Deps{Bus: b, Document: parse(t, file)})

	first := await(t, b, port, up)
	if first.Driver != "ssh" || first.Generation != 1 || first.PublicURL != "http://"+first.PublicAddress || first.Port != port || first.ID == "" {
		t.Errorf("status %+v", first)
	}
	if got, err := fetch(t, first.PublicURL); got != "the local service" {
		t.Errorf("through the tunnel: %q %v", got, err)
	}
	if want := "[Gateway] Public URL: " + first.PublicURL + "\n"; r.out.String() != want {
		t.Errorf("said %q, want %q", r.out, want)
	}

	path.Cut() // remote port 0: the server picks another
	second := await(t, b, port, func(s event.GatewayStatus) bool { return up(s) && s.Generation == 2 })
	if second.PublicURL == first.PublicURL {
		t.Errorf("generation 2 has the URL of generation 1: %s", second.PublicURL)
	}
	if got, err := fetch(t, second.PublicURL); got != "the local service" {
		t.Errorf("through the tunnel, mended: %q %v", got, err)
	}

	var asked []map[string]any
	for from := uint64(1); len(asked) < 2; {
		m, err := b.Next(t.Context(), subject.StreamRuns, subject.RunRequest("register"), from)
		if err != nil {
			if len(asked) == 1 { // the second may be on its way
				await(t, b, port, up)
				continue
			}
			t.Fatal(err)
		}
		from = m.Seq + 1
		var input map[string]any
		if err := json.Unmarshal(m.Data, &input); err != nil {
			t.Fatal(err)
		}
		asked = append(asked, input)
	}
	if asked[0]["public_url"] != first.PublicURL || asked[1]["public_url"] != second.PublicURL || asked[1]["previous_url"] != first.PublicURL ||
		asked[1]["generation"] != 2.0 || asked[1]["port"] != float64(port) {
		t.Errorf("on_url was asked with %v", asked)
	}

	r.end()
	await(t, b, port, gone)
	if _, err := fetch(t, second.PublicURL); err == nil {
		t.Error("the tunnel still answers after the end")
	}
}

func TestAFixedPortKeepsItsGenerationOverProcesses(t *testing.T) {
	_, b := provisioned(t)
	sshd := sshtest.StartSshd(t)
	port, remote := target(t, "x"), sshtest.FreePort(t)
	doc := parse(t, sshGateway(sshd, sshd.KnownHosts, sshd.Port, "", fmt.Sprintf(`"%d:%d"`, remote, port)))
	for range 2 {
		r := start(t, gateway.Config{}, gateway.Deps{Bus: b, Document: doc})
		s := await(t, b, port, up)
		if s.Generation != 1 || s.PublicURL != fmt.Sprintf("http://127.0.0.1:%d", remote) {
			t.Errorf("%+v", s)
		}
		r.end()
		await(t, b, port, gone)
	}
}

func TestNobodyListensLocally(t *testing.T) {
	_, b := provisioned(t)
	sshd := sshtest.StartSshd(t)
	port := sshtest.FreePort(t)
	start(t, gateway.Config{}, gateway.Deps{Bus: b, Document: parse(t, sshGateway(sshd, sshd.KnownHosts, sshd.Port, "", fmt.Sprintf(`"0:%d"`, port)))})
	s := await(t, b, port, func(s event.GatewayStatus) bool { return s.Status == "degraded" })
	if !strings.Contains(s.Error, "upstream_down: nothing listens on localhost:") {
		t.Errorf("%+v", s)
	}
	if _, err := fetch(t, s.PublicURL); err == nil || err.Error() != "502 Bad Gateway" {
		t.Errorf("the tunnel answers %v", err)
	}
}

func TestAWrongKeyFailsAloneAndForGood(t *testing.T) {
	_, b := provisioned(t)
	sshd := sshtest.StartSshd(t)
	stranger := *sshd
	stranger.Keyfile, _ = sshtest.Key(t, t.TempDir(), "stranger")
	port := target(t, "x")
	r := start(t, gateway.Config{}, gateway.Deps{Bus: b, Document: parse(t, sshGateway(&stranger, sshd.KnownHosts, sshd.Port, "", fmt.Sprintf(`"0:%d"`, port)))})
	s := await(t, b, port, func(s event.GatewayStatus) bool { return s.Status == "failed" })
	if !strings.Contains(s.Error, "does not let") || s.PublicURL != "" {
		t.Errorf("%+v", s)
	}
	select {
	case err := <-r.done:
		t.Errorf("the gateway has ended: %v", err)
	default:
	}
}

func TestReloadChangesOnlyWhatDiffers(t *testing.T) {
	_, b := provisioned(t)
	sshd := sshtest.StartSshd(t)
	stays, goes, comes := target(t, "stays"), target(t, "goes"), target(t, "comes")
	file := func(ports ...int) string {
		var words []string
		for _, p := range ports {
			words = append(words, fmt.Sprintf(`"0:%d"`, p))
		}
		return sshGateway(sshd, sshd.KnownHosts, sshd.Port, "", words...)
	}
	files := make(chan *compose.Document, 1)
	start(t, gateway.Config{}, gateway.Deps{
		Bus: b, Document: parse(t, file(stays, goes)), Load: func() (*compose.Document, error) { return <-files, nil },
	})
	before := await(t, b, stays, up)
	await(t, b, goes, up)
	files <- parse(t, file(stays, comes))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await(t, b, goes, gone)
	await(t, b, comes, up)
	after := await(t, b, stays, up)
	if before.PublicURL != after.PublicURL || !before.Since.Equal(after.Since) {
		t.Errorf("the tunnel that did not change: %+v → %+v", before, after)
	}
}

func TestHandOverAndTakeOver(t *testing.T) {
	server, b := provisioned(t)
	sshd := sshtest.StartSshd(t)
	port := target(t, "x")
	doc := parse(t, sshGateway(sshd, sshd.KnownHosts, sshd.Port, "", fmt.Sprintf(`"%d:%d"`, sshtest.FreePort(t), port)))
	const ttl = 3 * time.Second
	own := server.Connect()
	first := start(t, gateway.Config{LeaseTTL: ttl}, gateway.Deps{Bus: own, Document: doc})
	one := await(t, b, port, up)
	second := start(t, gateway.Config{LeaseTTL: ttl}, gateway.Deps{Bus: b, Document: doc})
	for deadline := time.Now().Add(patience); len(second.g.Statuses()) == 0 || second.g.Statuses()[0].Status != "standby"; {
		if time.Now().After(deadline) {
			t.Fatalf("the second does not stand by: %+v", second.g.Statuses())
		}
		<-time.After(10 * time.Millisecond)
	}
	began := time.Now()
	first.end()
	two := await(t, b, port, func(s event.GatewayStatus) bool { return up(s) && s.Since.After(one.Since) })
	t.Logf("hand-over took %s", time.Since(began))
	if two.Generation != one.Generation || two.PublicURL != one.PublicURL {
		t.Errorf("%+v, then %+v", one, two)
	}
}

func TestWrongFiles(t *testing.T) {
	key, _ := sshtest.Key(t, t.TempDir(), "key")
	ssh := func(auth string) string {
		return "gateway: {type: ssh-tunnel, port: 8080, connection: {host: h, auth: " + auth + "}}"
	}
	const other = "  - {id: %s, type: ssh-tunnel, port: '9000:%d', connection: {host: h, auth: {type: password, username: u, password: p}}}\n"
	for name, c := range map[string]struct {
		file string
		env  []string
		want []string // in the error or its hint
	}{
		"no gateway":  {"listener: {port: 1, path: /x}", nil, []string{"no gateway"}},
		"no key file": {ssh("{type: keyfile, username: u, keyfile: /nowhere/key}"), nil, []string{"gateway", "/nowhere/key", "no such file"}},
		"unset":       {ssh("{type: password, username: u, password: '${env.PW}'}"), nil, []string{"connection.auth.password is empty"}},
		"no agent within": {
			"gateway: {type: ssh-tunnel, runtime: docker, port: 8080, connection: {host: h, auth: {type: agent, username: u}}}",
			[]string{"SSH_AUTH_SOCK=/x"},
			[]string{"a container does not reach the SSH agent"},
		},
		"no NATS for it": {
			"gateway: {type: http-tunnel, driver: ngrok, runtime: docker, port: 8080}",
			[]string{"NGROK_AUTHTOKEN=x"},
			[]string{"needs a NATS server that the container reaches"},
		},
		"a remote port twice": {
			"gateways:\n" + fmt.Sprintf(other, "a", 8080) + fmt.Sprintf(other, "b", 8081),
			nil,
			[]string{"gateway", "port 9000 of the server is asked for twice"},
		},
		"a URL for an edge": {
			"gateway: {driver: ngrok, port: 8080, authtoken: t, connect_url: 'https://x.example'}", nil, []string{"is not HOST:PORT"},
		},
		"no agent":    {ssh("{type: agent, username: u}"), nil, []string{"SSH_AUTH_SOCK"}},
		"two for one": {"gateway: {type: ssh-tunnel, port: [8080, 8081], public_url: https://x.example, connection: {host: h, auth: {type: keyfile, username: u, keyfile: " + key + "}}}", nil, []string{"public_url"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := gateway.New(gateway.Config{}, gateway.Deps{Document: parse(t, c.file, c.env...), Getenv: getenv(c.env...)})
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v, want …%s…", err, w)
				}
			}
		})
	}
}
