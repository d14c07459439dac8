package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/gateway/cloudflare"
	"github.com/switchbackhq/switchback/services/gateway/cloudflaretest"
	"github.com/switchbackhq/switchback/services/gateway/ngroktest"
	"github.com/switchbackhq/switchback/services/gateway/sshtest"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

func unset(string) (string, bool) { return "", false }

func parsed(t *testing.T, file string) *compose.Document {
	t.Helper()
	doc, err := compose.Parse([]byte(file), unset)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// listening is a local port that takes connections.
func listening(t *testing.T) (addr, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return l.Addr().String(), port
}

// steps are a check's, in their order: name, state, and what is said of it.
type steps []Step

func (s *steps) add(step Step) { *s = append(*s, step) }

// expect compares the steps with lines "NAME: STATE, …TEXT…"; the text is of the error and its fix, where it has failed.
func (s *steps) expect(t *testing.T, want ...string) {
	t.Helper()
	all := *s
	wrong := len(all) != len(want)
	for i := range min(len(all), len(want)) {
		head, text, _ := strings.Cut(want[i], ", ")
		said := all[i].Said
		if all[i].State == StepFailed {
			said = all[i].Error + " " + all[i].Fix
		}
		wrong = wrong || fmt.Sprintf("%s: %s", all[i].Name, all[i].State) != head || !strings.Contains(said, text)
		wrong = wrong || (all[i].State == StepFailed) != (all[i].Fix != "")
		wrong = wrong || all[i].Took < 0 || (all[i].State == StepNotTried || all[i].State == StepNone) && all[i].Took != 0
	}
	if wrong {
		for _, got := range all {
			t.Logf("%+v", got)
		}
		t.Errorf("want\n%s", strings.Join(want, "\n"))
	}
}

func TestCheckSSH(t *testing.T) {
	sshd, strict := sshtest.StartSshd(t), sshtest.StartSshd(t, "AllowTcpForwarding no")
	stranger, _ := sshtest.Key(t, t.TempDir(), "stranger")
	_, port := listening(t)
	for name, c := range map[string]struct {
		server  *sshtest.Sshd
		key     string
		sshPort int
		host    string
		known   string
		port    string
		want    []string
	}{
		"all is well": {want: []string{
			"DNS: ok", "TCP: ok", "TLS: none, the host key", "sign in: ok, is let in by the key", "bind: ok, http://127.0.0.1:", "local port: ok", "public URL: ok, came back",
		}},
		"a wrong key": {key: stranger, want: []string{
			"DNS: ok", "TCP: ok", "TLS: none", "sign in: failed, authorized_keys", "bind: not_tried", "local port: ok", "public URL: not_tried",
		}},
		"another server": {known: "/dev/null", want: []string{
			"DNS: ok", "TCP: ok", "TLS: none", "sign in: failed, is not known", "bind: not_tried", "local port: ok", "public URL: not_tried",
		}},
		"a refused forward": {server: strict, want: []string{
			"DNS: ok", "TCP: ok", "TLS: none", "sign in: ok", "bind: failed, AllowTcpForwarding no", "local port: ok", "public URL: not_tried",
		}},
		"nobody there": {sshPort: sshtest.FreePort(t), want: []string{
			"DNS: ok, an address already", "TCP: failed, connection refused", "TLS: not_tried", "sign in: not_tried", "bind: not_tried", "local port: ok", "public URL: not_tried",
		}},
		"no such name": {host: "nowhere..invalid", want: []string{
			"DNS: failed, nowhere..invalid is not known", "TCP: not_tried", "TLS: not_tried", "sign in: not_tried", "bind: not_tried", "local port: ok", "public URL: not_tried",
		}},
		"nothing local": {port: fmt.Sprint(sshtest.FreePort(t)), want: []string{
			"DNS: ok", "TCP: ok", "TLS: none", "sign in: ok", "bind: ok", "local port: failed, start what is to listen there", "public URL: ok",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.server == nil {
				c.server = sshd
			}
			or := func(value, otherwise string) string {
				if value == "" {
					return otherwise
				}
				return value
			}
			if c.sshPort == 0 {
				c.sshPort = c.server.Port
			}
			doc := parsed(t, fmt.Sprintf("gateway: {id: g, type: ssh-tunnel, port: '0:%s', target: 127.0.0.1, connection: {host: %s, port: %d, known_hosts: %s, "+
				"auth: {type: keyfile, username: %s, keyfile: %s}}}", or(c.port, port), or(c.host, "127.0.0.1"), c.sshPort, or(c.known, c.server.KnownHosts),
				c.server.User, or(c.key, c.server.Keyfile)))
			var got steps
			err := Check(t.Context(), Config{}, Deps{Document: doc, Getenv: unset}, "g", got.add)
			got.expect(t, c.want...)
			if failed := strings.Contains(strings.Join(c.want, " "), ": failed"); failed != (err != nil) {
				t.Errorf("the check ends with %v", err)
			}
		})
	}
}

// until is a check that ends where the test cannot follow: its public URL is nobody's.
func (s *steps) until(last string, stop context.CancelFunc) func(Step) {
	return func(step Step) {
		s.add(step)
		if step.Name == last {
			stop()
		}
	}
}

func TestCheckNgrok(t *testing.T) {
	_, port := listening(t)
	for name, c := range map[string]struct {
		token, refuse string
		strange       bool // another authority
		want          []string
	}{
		"all is well": {want: []string{"DNS: ok", "TCP: ok", "TLS: ok, is trusted", "sign in: ok, authtoken is taken", "bind: ok, https://" + ngroktest.Host, "local port: ok"}},
		"a bad token": {token: "2bad_token", want: []string{
			"DNS: ok", "TCP: ok", "TLS: ok", "sign in: failed, NGROK_AUTHTOKEN", "bind: not_tried", "local port: ok",
		}},
		"a refused bind": {refuse: "Already online.\n\nERR_NGROK_334", want: []string{
			"DNS: ok", "TCP: ok", "TLS: ok", "sign in: ok", "bind: failed, switchback gateways", "local port: ok",
		}},
		"another authority": {strange: true, want: []string{
			"DNS: ok", "TCP: ok", "TLS: failed, connect_ca", "sign in: not_tried", "bind: not_tried", "local port: ok",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := ngroktest.Start(t)
			e.Refuse(c.refuse)
			token, ca, authority := ngroktest.Token, e.CA, filepath.Join(t.TempDir(), "ca.pem")
			if c.token != "" {
				token = c.token
			}
			if c.strange {
				ca = ngroktest.Start(t).CA
			}
			if err := os.WriteFile(authority, ca, 0o600); err != nil {
				t.Fatal(err)
			}
			doc := parsed(t, fmt.Sprintf("gateway: {driver: ngrok, port: %s, target: 127.0.0.1, authtoken: %s, connect_url: '%s', connect_ca: %s}", port, token, e.Addr, authority))
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var got steps
			if err := Check(ctx, Config{}, Deps{Document: doc, Getenv: unset}, "", got.until(stepLocal, stop)); !errors.Is(err, context.Canceled) {
				t.Errorf("a check that was stopped gives %v", err)
			}
			got.expect(t, c.want...)
			for _, s := range got {
				if strings.Contains(s.Error, "bad_token") {
					t.Errorf("the token is told: %s", s.Error)
				}
			}
		})
	}
}

// Of a quick tunnel signing in is told from binding; a named one does both by one request, and that is said.
func TestCheckCloudflare(t *testing.T) {
	addr, port := listening(t)
	host, edgePort, _ := net.SplitHostPort(addr)
	credentials := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(credentials, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	quick, byToken, byFile := "", ", token: t", ", tunnel: t, hostname: x.example.com, credentials_file: "+credentials
	for name, c := range map[string]struct {
		form, mode string
		want       []string
	}{
		"quick":           {form: quick, mode: "ok", want: []string{"sign in: ok, the name quick.trycloudflare.test", "bind: ok, https://quick.trycloudflare.test"}},
		"quick, too many": {form: quick, mode: "429", want: []string{"sign in: failed, 429", "bind: not_tried"}},
		"quick, no way":   {form: quick, mode: "lost", want: []string{"sign in: ok", "bind: failed, cannot reach Cloudflare"}},
		"token":           {form: byToken, mode: "ok", want: []string{"sign in: ok, one request", "bind: ok, https://hooks.example.com"}},
		"token, not whole": {
			form: byToken, mode: "bad-token", want: []string{"sign in: failed, copy it again", "bind: not_tried"},
		},
		"token, refused": {form: byToken, mode: "refused", want: []string{"sign in: failed, Invalid tunnel secret", "bind: not_tried"}},
		"token, no way": {
			form: byToken, mode: "dns", want: []string{"sign in: unknown, does not tell which", "bind: failed, no such host"},
		},
		"credentials":          {form: byFile, mode: "ok", want: []string{"sign in: ok, one request", "bind: ok, https://x.example.com"}},
		"credentials, refused": {form: byFile, mode: "refused", want: []string{"sign in: failed, cloudflared tunnel create", "bind: not_tried"}},
	} {
		t.Run(name, func(t *testing.T) {
			doc := parsed(t, fmt.Sprintf("gateway: {driver: cloudflare, port: %s, target: 127.0.0.1%s}", port, c.form))
			groups, err := planned(doc, unset, Config{}, containers{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var got steps
			s := cloudflare.Settings{Binary: cloudflaretest.Program(t, c.mode), StateDir: t.TempDir(), Poll: 10 * time.Millisecond}
			switch c.form {
			case byToken:
				s.Token = "t"
			case byFile:
				s.Tunnel, s.CredentialsFile, s.Hostname = "t", credentials, "x.example.com"
			}
			s.Log = slog.New(slog.DiscardHandler)
			k := &checking{plan: groups[0].plans[0], driver: cloudflare.New(s), edge: edge{host: host, port: edgePort, noTLS: "x"}, tell: got.until(stepLocal, stop)}
			k.walk(ctx)
			got.expect(t, append(append([]string{"DNS: ok", "TCP: ok", "TLS: none"}, c.want...), "local port: ok")...)
		})
	}
}

// cloudflared finds its way by names and by UDP of its own: where ours ends, it is tried nevertheless.
func TestCheckGoesOnWhereTheDriverMay(t *testing.T) {
	_, port := listening(t)
	doc := parsed(t, fmt.Sprintf("gateway: {driver: cloudflare, port: %s, target: 127.0.0.1}", port))
	groups, err := planned(doc, unset, Config{}, containers{})
	if err != nil {
		t.Fatal(err)
	}
	e := edgeOf(doc.Gateways[0], unset)
	e.host = "nowhere..invalid"
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var got steps
	driver := cloudflare.New(cloudflare.Settings{Binary: cloudflaretest.Program(t, "ok"), StateDir: t.TempDir(), Poll: 10 * time.Millisecond})
	k := &checking{plan: groups[0].plans[0], driver: driver, edge: e, tell: got.until(stepLocal, stop)}
	k.walk(ctx)
	got.expect(t, "DNS: failed", "TCP: not_tried", "TLS: not_tried", "sign in: ok", "bind: ok", "local port: ok")
}

// What a driver says without a hint still has a fix.
func TestEveryFailureHasAFix(t *testing.T) {
	var got steps
	k := &checking{tell: got.add}
	k.done(stepBind, "", errors.New("cut"), 1)
	k.done(stepBind, "", &tunnel.Error{Class: tunnel.Conflict, Message: "taken", Hint: "wait"}, 1)
	got.expect(t, "bind: failed, cut try again", "bind: failed, wait; or the gateway itself")
}

func TestCheckNamesTheGateways(t *testing.T) {
	two := parsed(t, "gateways: [{id: a, driver: cloudflare, port: 1}, {id: b, driver: cloudflare, port: 2}]")
	for name, c := range map[string]struct {
		doc  *compose.Document
		id   string
		code fault.Code
		want string
	}{
		"none":    {&compose.Document{}, "", fault.NotFound, "-f"},
		"which":   {two, "", fault.Usage, "a, b"},
		"unknown": {two, "c", fault.NotFound, "a, b"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Check(t.Context(), Config{}, Deps{Document: c.doc, Getenv: unset}, c.id, func(Step) { t.Error("a step") })
			if fault.CodeOf(err) != c.code || !strings.Contains(fault.HintOf(err), c.want) {
				t.Errorf("%v (%s)", err, fault.HintOf(err))
			}
		})
	}
}
