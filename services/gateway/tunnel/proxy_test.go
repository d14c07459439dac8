package tunnel_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

const patience = time.Minute

// serve serves a proxy on a port of its own until the test ends.
func serve(t *testing.T, c tunnel.ProxyConfig, wrap func(net.Listener) net.Listener) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	if wrap != nil {
		l = wrap(l)
	}
	transport := tunnel.NewTargetTransport()
	c.Dial = transport
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tunnel.NewProxy(c).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		transport.CloseIdleConnections()
	})
	return url
}

func ask(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func request(t *testing.T, method, url, body string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

func TestProxyHandsOn(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s for=%s proto=%s real=%s", r.Method, r.URL, body, r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Real-Ip"))
	}))
	defer target.Close()
	lies := []string{"X-Forwarded-For", "6.6.6.6", "X-Real-Ip", "6.6.6.6"}
	for name, c := range map[string]struct {
		config  tunnel.ProxyConfig
		headers []string
		want    string
	}{
		"plain":           {config: tunnel.ProxyConfig{}, want: "POST /a?b=c hi for=127.0.0.1 proto=http real="},
		"lies":            {config: tunnel.ProxyConfig{}, headers: lies, want: "POST /a?b=c hi for=127.0.0.1 proto=http real="},
		"https outside":   {config: tunnel.ProxyConfig{Proto: "https"}, want: "POST /a?b=c hi for=127.0.0.1 proto=https real="},
		"the edge's word": {config: tunnel.ProxyConfig{Trust: true}, headers: []string{"X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https"}, want: "POST /a?b=c hi for=203.0.113.9 proto=https real="},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Target = strings.TrimPrefix(target.URL, "http://")
			url := serve(t, c.config, nil)
			if status, got := ask(t, request(t, http.MethodPost, url+"/a?b=c", "hi", c.headers...)); status != http.StatusOK || got != c.want {
				t.Errorf("%d %q, want %q", status, got, c.want)
			}
		})
	}
}

func TestProxyRefuses(t *testing.T) {
	release := make(chan struct{})
	inside := make(chan struct{}, 1)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			inside <- struct{}{}
			<-release
		}
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer target.Close()
	url := serve(t, tunnel.ProxyConfig{Target: strings.TrimPrefix(target.URL, "http://"), MaxBody: 4, Limit: 1}, nil)
	if status, body := ask(t, request(t, http.MethodPost, url, "too long")); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body: %d %s", status, body)
	}
	held := make(chan struct{})
	go func() {
		defer close(held)
		ask(t, request(t, http.MethodGet, url+"/hold", ""))
	}()
	<-inside
	if status, body := ask(t, request(t, http.MethodGet, url, "")); status != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d %s", status, body)
	}
	close(release)
	<-held
	nobody := serve(t, tunnel.ProxyConfig{Target: "127.0.0.1:1"}, nil)
	if status, body := ask(t, request(t, http.MethodGet, nobody, "")); status != http.StatusBadGateway || !strings.Contains(body, "does not answer") {
		t.Errorf("no target: %d %s", status, body)
	}
}

// bare connections keep no deadlines, as those of ssh.
type bare struct{ net.Listener }

func (b bare) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	return bareConn{c}, err
}

type bareConn struct{ net.Conn }

func (bareConn) SetDeadline(time.Time) error      { return errors.New("not supported") }
func (bareConn) SetReadDeadline(time.Time) error  { return errors.New("not supported") }
func (bareConn) SetWriteDeadline(time.Time) error { return errors.New("not supported") }

// A connection that is kept alive must neither hold up its next request nor the end.
func TestConnectionsWithoutDeadlines(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }))
	t.Cleanup(target.Close)
	log := &bytes.Buffer{}
	var conn net.Conn
	t.Cleanup(func() { // after Serve has ended: the connection idles meanwhile
		_ = conn.Close()
		if strings.Contains(log.String(), "cut off") {
			t.Errorf("an idle connection counts as one in flight: %s", log)
		}
	})
	url := serve(t, tunnel.ProxyConfig{Target: strings.TrimPrefix(target.URL, "http://"), Log: slog.New(slog.NewTextHandler(log, nil))}, func(l net.Listener) net.Listener { return bare{l} })
	var err error
	if conn, err = net.Dial("tcp", strings.TrimPrefix(url, "http://")); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for i := range 3 {
		fmt.Fprintf(conn, "POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", i)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if string(body) != fmt.Sprintf("/%d", i) {
			t.Errorf("answer %d is %q", i, body)
		}
	}
}

func TestProbe(t *testing.T) {
	secret := tunnel.NewSecret()
	ours := serve(t, tunnel.ProxyConfig{Target: "127.0.0.1:1", Secret: secret}, nil)
	theirs := serve(t, tunnel.ProxyConfig{Target: "127.0.0.1:1", Secret: tunnel.NewSecret()}, nil)
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	p := tunnel.NewProber(secret, "look there", nil)
	for name, c := range map[string]struct{ url, want string }{
		"ours":            {ours, ""},
		"ours with slash": {ours + "/", ""},
		"another gateway": {theirs, "answers 200 OK, but not from this gateway"},
		"somebody else":   {other.URL, "answers 404 Not Found, but not from this gateway"},
		"nobody":          {"http://127.0.0.1:1", "connection refused"},
		"no name":         {"http://no-such-host.invalid", "its name is not known"},
	} {
		err := p.Probe(t.Context(), c.url)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want …%s…", name, err, c.want)
		}
	}
	// Only a short nonce is answered: a probe is no way to have long things computed.
	if status, _ := ask(t, request(t, http.MethodGet, ours+"/.well-known/switchback-gateway/"+strings.Repeat("x", 65), "")); status != http.StatusNotFound {
		t.Errorf("a long nonce: %d", status)
	}
}
