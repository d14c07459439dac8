package ngrok_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/services/gateway/ngrok"
	"github.com/switchbackhq/switchback/services/gateway/ngroktest"
	"github.com/switchbackhq/switchback/services/gateway/sshtest"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// The library's heartbeats outlive their session by up to one interval, and its attempts to connect by their pause.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("golang.ngrok.com/muxado/v2.(*Heartbeat).requester"),
		goleak.IgnoreTopFunction("golang.ngrok.com/muxado/v2.(*Heartbeat).check"),
		goleak.IgnoreAnyFunction("golang.ngrok.com/ngrok/v2/internal/tunnel/client.(*reconnectingSession).createTunnelClientSession.func1"),
		goleak.IgnoreAnyFunction("golang.ngrok.com/ngrok/v2/internal/tunnel/client.(*reconnectingSession).createTunnelClientSession.func2"))
}

// patience only ends a test that has failed.
const patience = time.Minute

func driver(t *testing.T, e *ngroktest.Edge, change func(s *ngrok.Settings)) *ngrok.Driver {
	t.Helper()
	s := ngrok.Settings{AuthToken: ngroktest.Token, ConnectURL: e.Addr, ConnectCA: e.CA, StepTime: 10 * time.Second}
	if change != nil {
		change(&s)
	}
	d, err := ngrok.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

type running struct {
	t    *testing.T
	seen chan tunnel.Observation
	done chan error
	stop context.CancelFunc
}

func run(t *testing.T, d *ngrok.Driver, name string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, seen: make(chan tunnel.Observation, 16), done: make(chan error, 1), stop: cancel}
	proxy := tunnel.NewProxy(tunnel.ProxyConfig{Target: "unused", Secret: tunnel.NewSecret(), Dial: echo{}, Trust: true})
	spec := tunnel.Spec{Gateway: "g", Port: 8090, Name: name, Serve: proxy.Serve}
	go func() { r.done <- d.Run(ctx, spec, func(o tunnel.Observation) { r.seen <- o }) }()
	t.Cleanup(func() {
		cancel()
		r.end()
	})
	return r
}

// echo is a target that says who asked for what.
type echo struct{}

func (echo) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("%s %s %s for=%s host=%s", r.Method, r.URL.RequestURI(), body, r.Header.Get("X-Forwarded-For"), r.Host)
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, ContentLength: int64(len(text)),
		Body: io.NopCloser(strings.NewReader(text)), Request: r,
	}, nil
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

func visit(t *testing.T, e *ngroktest.Edge, url string) string {
	t.Helper()
	c := &http.Client{Transport: e, Timeout: patience}
	resp, err := c.Post(url+"/hook?x=1", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestTwoEndpointsOfOneSession(t *testing.T) {
	e := ngroktest.Start(t)
	d := driver(t, e, nil)
	for _, name := range []string{"", "pinned.example"} {
		o := run(t, d, name).next()
		host := ngroktest.Host
		if name != "" {
			host = name
		}
		if o.URL != "https://"+host || o.Address != host {
			t.Errorf("%+v", o)
		}
		if got, want := visit(t, e, o.URL), "POST /hook?x=1 hello for=203.0.113.9 host="+host; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if auths, _ := e.Asked(); auths != 1 {
		t.Errorf("%d sessions, want 1", auths)
	}
}

func TestWhatTheEdgeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *ngrok.Settings)
		refuse string
		class  tunnel.Class
		want   string
		hint   string
	}{
		"wrong token":      {change: func(s *ngrok.Settings) { s.AuthToken = "2secret_token" }, class: tunnel.Auth, want: "The authtoken you specified is not valid. Your authtoken: *** ERR_NGROK_105", hint: "NGROK_AUTHTOKEN"},
		"name in use":      {refuse: "The endpoint is already online.\n\nERR_NGROK_334", class: tunnel.Conflict, want: "already online", hint: "tried again"},
		"name not owned":   {refuse: "Not reserved.\n\nERR_NGROK_319", class: tunnel.Config, want: "Not reserved", hint: "domains"},
		"something else":   {refuse: "Oh no.\n\nERR_NGROK_9999", class: tunnel.Remote, want: "Oh no. ERR_NGROK_9999", hint: "err_ngrok_9999"},
		"not an authority": {change: func(s *ngrok.Settings) { s.ConnectCA = nil }, class: tunnel.Config, want: "not trusted", hint: "connect_ca"},
		"nobody there":     {change: func(s *ngrok.Settings) { s.ConnectURL = fmt.Sprintf("127.0.0.1:%d", sshtest.FreePort(t)) }, class: tunnel.Network, want: "connection refused", hint: "connect_url"},
	} {
		t.Run(name, func(t *testing.T) {
			e := ngroktest.Start(t)
			e.Refuse(c.refuse)
			err := tunnel.Classify(run(t, driver(t, e, c.change), "").end())
			if err.Class != c.class || !strings.Contains(err.Message, c.want) || !strings.Contains(err.Hint, c.hint) {
				t.Errorf("%s: %s (%s), want %s: …%s… (…%s…)", err.Class, err, err.Hint, c.class, c.want, c.hint)
			}
			if strings.Contains(err.Message, "secret_token") {
				t.Errorf("the token is in the error: %s", err)
			}
			if auths, _ := e.Asked(); auths > 1 {
				t.Errorf("tried %d times", auths)
			}
		})
	}
}

// Being let in is told before the endpoint is asked for, also where that is refused then.
func TestSigningInIsToldByItself(t *testing.T) {
	e := ngroktest.Start(t)
	e.Refuse("Not reserved.\n\nERR_NGROK_319")
	r := run(t, driver(t, e, nil), "")
	if o := r.observed(); o != (tunnel.Observation{SignedIn: "the authtoken is taken"}) {
		t.Errorf("%+v", o)
	}
	if err := r.end(); err == nil || len(r.seen) > 0 {
		t.Errorf("after a refusal: %v, and %d more", err, len(r.seen))
	}
}

func TestADroppedConnectionIsMadeAgain(t *testing.T) {
	e := ngroktest.Start(t)
	r := run(t, driver(t, e, nil), "")
	first := r.next()
	e.Drop()
	if o := r.next(); o.Err == nil {
		t.Errorf("after a drop: %+v", o)
	}
	if o := r.next(); o != first {
		t.Errorf("after it is made again: %+v, want %+v", o, first)
	}
	// The library tells that it is connected before it has bound again.
	for deadline := time.Now().Add(patience); ; {
		if _, bound := e.Asked(); bound == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not bound again")
		}
		<-time.After(time.Millisecond)
	}
}

func TestARefusedBindAfterADropEndsIt(t *testing.T) {
	e := ngroktest.Start(t)
	r := run(t, driver(t, e, nil), "")
	r.next()
	e.Refuse("The endpoint is already online.\n\nERR_NGROK_334")
	e.Drop()
	if err := tunnel.Classify(r.end()); err.Class != tunnel.Conflict {
		t.Errorf("%s: %s", err.Class, err)
	}
}

func TestAFrozenPathIsNoticed(t *testing.T) {
	if raceEnabled {
		t.Skip("the library (v2.4.0) has a race between its first heartbeat and the end of connecting; only a heartbeat as short as this test's meets it")
	}
	e := ngroktest.Start(t)
	path := sshtest.StartPath(t, e.Addr)
	r := run(t, driver(t, e, func(s *ngrok.Settings) { s.ConnectURL, s.Heartbeat = path.Addr, 200*time.Millisecond }), "")
	r.next()
	path.Freeze()
	if o := r.next(); o.Err == nil {
		t.Errorf("%+v", o)
	}
}

func TestStopWhileConnecting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	d, err := ngrok.New(ngrok.Settings{AuthToken: "x", ConnectURL: l.Addr().String(), StepTime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, d, "")
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r.stop()
	r.end()
}
