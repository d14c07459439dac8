package action_test

import (
	"compress/gzip"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/services/runner/action"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// of makes an invocation one of a component with fields of its own.
func of(c *compose.Component, url *expr.Template) engine.Act {
	c.ID = "api"
	a := act(&compose.Action{URL: url}, `{}`)
	a.Of = c
	return a
}

func TestAComponentsOwnBounds(t *testing.T) {
	big := serve(t, http.StatusOK, "text/plain", strings.Repeat("x", 2000))
	p := performer(t, action.Options{})
	for size, code := range map[int64]string{1000: "too_large", 4000: ""} {
		acted, err := p.Perform(t.Context(), of(&compose.Component{MaxResponseSize: size}, template(t, big.URL)), env{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if acted.Err != nil {
			got = acted.Err.Code
		}
		if got != code {
			t.Errorf("with at most %d bytes: %q, want %q", size, got, code)
		}
	}
}

// TestBodiesAreReadToTheirEnd: whatever the response says of its length, and over one connection as long as it lasts.
func TestBodiesAreReadToTheirEnd(t *testing.T) {
	text := strings.Repeat("x", 200<<10)
	var connections sync.Map
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections.Store(r.RemoteAddr, true)
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		w.Header().Set("Content-Type", "text/plain")
		switch r.URL.Path {
		case "/announced":
			w.Header().Set("Content-Length", strconv.Itoa(n))
			_, _ = io.WriteString(w, text[:n])
		case "/chunked":
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, text[:n])
		case "/zipped":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, text[:n])
			_ = z.Close()
		case "/cut":
			w.Header().Set("Content-Length", strconv.Itoa(2*n))
			_, _ = io.WriteString(w, text[:n])
		}
	}))
	defer s.Close()
	p := performer(t, action.Options{MaxResponse: 200 << 10})
	for _, c := range []struct {
		method, path string
		n, got       int
		code         string
	}{
		{"GET", "/announced", 0, 0, ""},
		{"GET", "/announced", 1, 1, ""},
		{"GET", "/announced", 64 << 10, 64 << 10, ""},
		{"GET", "/announced", 64<<10 + 1, 64<<10 + 1, ""},
		{"GET", "/announced", 200 << 10, 200 << 10, ""},
		{"HEAD", "/announced", 10, 0, ""},
		{"GET", "/chunked", 100, 100, ""},
		{"GET", "/chunked", 200 << 10, 200 << 10, ""},
		{"GET", "/zipped", 200 << 10, 200 << 10, ""},
		{"GET", "/cut", 0, 0, ""},
		{"GET", "/cut", 100, 0, action.CodeRequest},
		{"GET", "/cut", 50 << 10, 0, action.CodeRequest},
	} {
		acted, err := p.Perform(t.Context(), act(&compose.Action{
			URL: template(t, s.URL+c.path+"?n="+strconv.Itoa(c.n)), Method: template(t, c.method),
		}, `{}`), env{})
		if err != nil {
			t.Fatal(err)
		}
		code := ""
		if acted.Err != nil {
			code = acted.Err.Code
		}
		want := ""
		if c.got > 0 {
			want = strconv.Quote(text[:c.got])
		}
		if code != c.code || string(acted.Output) != want {
			t.Errorf("%s %s of %d: %q, %d bytes", c.method, c.path, c.n, code, len(acted.Output))
		}
	}
	used := 0
	connections.Range(func(any, any) bool { used++; return true })
	if used > 3 { // one, and one more after each that was cut
		t.Errorf("%d connections were used", used)
	}
}

func TestRequestsWaitForTheirRate(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer s.Close()
	p := performer(t, action.Options{})
	c := &compose.Component{RateLimit: &compose.Rate{Count: 2, Per: time.Hour}}
	for range 2 {
		if acted, err := p.Perform(t.Context(), of(c, template(t, s.URL)), env{}); err != nil || acted.Err != nil {
			t.Fatalf("%v, %+v", err, acted.Err)
		}
	}
	third, err := p.Perform(t.Context(), of(c, template(t, s.URL)), env{}) // it would be sent half an hour after its deadline
	if err != nil || third.Err == nil || asked != 2 {
		t.Errorf("a request over the rate: %v, %+v, %d were sent", err, third.Err, asked)
	}
}

func TestAProxyIsGoneThrough(t *testing.T) {
	var through string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { through = r.URL.String() }))
	defer proxy.Close()
	acted, err := performer(t, action.Options{}).Perform(t.Context(),
		of(&compose.Component{Proxy: expr.Literal(proxy.URL)}, template(t, "http://outside.example/work")), env{})
	if err != nil || acted.Err != nil || through != "http://outside.example/work" {
		t.Errorf("%v, %+v, the proxy was asked for %q", err, acted.Err, through)
	}
}

func TestCertificatesAreChecked(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		tls  *compose.ClientTLS
		want string // "" is success
	}{
		"a stranger's":           {nil, "certificate"},
		"one that is trusted":    {&compose.ClientTLS{CAFile: ca}, ""},
		"for another name":       {&compose.ClientTLS{CAFile: ca, ServerName: "other.invalid"}, "other.invalid"},
		"for its own name":       {&compose.ClientTLS{CAFile: ca, ServerName: "example.com"}, ""},
		"any":                    {&compose.ClientTLS{InsecureSkipVerify: true}, ""},
		"a file that is no PEM":  {&compose.ClientTLS{CAFile: os.Args[0]}, "holds no certificate"},
		"a file that is missing": {&compose.ClientTLS{CAFile: ca + ".gone"}, "its CA file"},
	} {
		acted, err := performer(t, action.Options{}).Perform(t.Context(), of(&compose.Component{TLS: tc.tls}, template(t, s.URL)), env{})
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.want == "" && acted.Err != nil, tc.want != "" && (acted.Err == nil || !strings.Contains(acted.Err.Message, tc.want)):
			t.Errorf("%s: %+v, want %q", name, acted.Err, tc.want)
		}
	}
}
