package action_test

import (
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// TestRequestsWaitForTheirRate: of no span of the rate's length do more go, whatever was saved before it.
func TestRequestsWaitForTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var sent []time.Duration
		p := action.New(action.Options{Transport: answering(func(*http.Request) { sent = append(sent, time.Since(began)) })})
		c := &compose.Component{RateLimit: &compose.Rate{Count: 10, Per: time.Second}}
		for range 35 {
			if acted, err := p.Perform(t.Context(), of(c, template(t, "http://outside.example")), env{}); err != nil || acted.Err != nil {
				t.Fatalf("%v, %+v", err, acted.Err)
			}
		}
		for i := range len(sent) - 10 {
			if span := sent[i+10] - sent[i]; span < time.Second {
				t.Errorf("11 requests within %s", span)
			}
		}
		if last := sent[len(sent)-1]; last > 3200*time.Millisecond {
			t.Errorf("35 requests took %s", last)
		}
	})
}

// TestARateIsKeptWhenTheFileChanges: the same component, read again, has no turns of its own.
func TestARateIsKeptWhenTheFileChanges(t *testing.T) {
	asked := 0
	p := action.New(action.Options{Transport: answering(func(*http.Request) { asked++ })})
	var acted engine.Acted
	for range 3 {
		var err error
		again := &compose.Component{RateLimit: &compose.Rate{Count: 2, Per: time.Hour}}
		if acted, err = p.Perform(t.Context(), of(again, template(t, "http://outside.example")), env{}); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 2 || acted.Err == nil || !strings.Contains(acted.Err.Message, "the rate_limit of component api, 2 in 1h0m0s") {
		t.Errorf("%d were sent, and the third: %+v", asked, acted.Err) // it would be sent an hour after its deadline
	}
}

// TestClientsAreKeptWithinBounds: a file that is read again and again brings components without end.
func TestClientsAreKeptWithinBounds(t *testing.T) {
	asked := 0
	p := action.New(action.Options{Transport: answering(func(*http.Request) { asked++ })})
	url := template(t, "http://outside.example")
	for range action.KeptClients + 10 {
		if acted, err := p.Perform(t.Context(), of(&compose.Component{MaxResponseSize: 1000}, url), env{}); err != nil || acted.Err != nil {
			t.Fatalf("%v, %+v", err, acted.Err)
		}
	}
	if p.Clients() != action.KeptClients || asked != action.KeptClients+10 {
		t.Errorf("%d clients are kept, and %d requests were sent", p.Clients(), asked)
	}
}

// TestATurnThatIsGivenUpIsFree: those of a cancelled run hold up nobody.
func TestATurnThatIsGivenUpIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		p := action.New(action.Options{Transport: answering(func(*http.Request) { asked.Add(1) })})
		c := &compose.Component{RateLimit: &compose.Rate{Count: 2, Per: time.Second}}
		act := of(c, template(t, "http://outside.example"))
		ask := func(ctx context.Context) engine.Acted {
			acted, err := p.Perform(ctx, act, env{})
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			return acted
		}
		ask(t.Context())
		ask(t.Context())
		cancelled, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() { ask(cancelled) })
		}
		synctest.Wait()
		began := time.Now()
		all.Go(func() {
			if acted := ask(t.Context()); acted.Err != nil {
				t.Errorf("%+v", acted.Err)
			}
		})
		synctest.Wait()
		cancel()
		all.Wait()
		if took := time.Since(began); asked.Load() != 3 || took < time.Second || took > 2*time.Second {
			t.Errorf("%d were sent, and the one behind those that were cancelled after %s", asked.Load(), took)
		}
	})
}

// answering is a transport whose connections answer at once.
func answering(asked func(*http.Request)) *http.Transport {
	t := &http.Transport{}
	t.RegisterProtocol("http", roundTrip(func(r *http.Request) (*http.Response, error) {
		asked(r)
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}))
	return t
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAProxyIsGoneThrough(t *testing.T) {
	var through, as string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		through, as = r.URL.String(), r.Header.Get("Proxy-Authorization")
	}))
	defer proxy.Close()
	host := strings.TrimPrefix(proxy.URL, "http://")
	for address, want := range map[string]string{
		proxy.URL:                           "",
		host:                                "",
		"http://me:${env.PASSWORD}@" + host: "Basic bWU6dGhlLXNlY3JldA==",
		"${env.PROXY}":                      "",
	} {
		through, as = "", ""
		acted, err := performer(t, action.Options{}).Perform(t.Context(),
			of(&compose.Component{Proxy: template(t, address)}, template(t, "http://outside.example/work")), env{"PASSWORD": "the-secret", "PROXY": proxy.URL})
		if err != nil || acted.Err != nil || through != "http://outside.example/work" || as != want {
			t.Errorf("%s: %v, %+v, the proxy was asked for %q by %q", address, err, acted.Err, through, as)
		}
	}
	for address, want := range map[string]string{"http://me:${env.PASSWORD}@" + host: "no address", "http://me:${env.OTHER}@127.0.0.1:1": "refused"} {
		acted, err := performer(t, action.Options{}).Perform(t.Context(),
			of(&compose.Component{Proxy: template(t, address)}, template(t, "http://outside.example/work")), env{"PASSWORD": "p ss/word", "OTHER": "the-secret"})
		if err != nil || acted.Err == nil || !strings.Contains(acted.Err.Message, want) || strings.Contains(acted.Err.Message, "word") && strings.Contains(acted.Err.Message, "p ss") ||
			strings.Contains(acted.Err.Message, "the-secret") {
			t.Errorf("%s: %v, %+v, want %q and no password", address, err, acted.Err, want)
		}
	}
}

func TestCertificatesAreChecked(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	other := ownCertificate(t, "other").certFile
	for name, tc := range map[string]struct {
		tls  *compose.ClientTLS
		want string // "" is success
	}{
		"a stranger's":           {nil, "name the authority that has signed it in tls.ca_file of component api"},
		"another authority's":    {&compose.ClientTLS{CAFile: other}, "it is not signed by an authority in " + other},
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

// pair is a certificate that has signed itself, and its key, as files.
type pair struct {
	tls.Certificate
	certFile, keyFile string
}

func ownCertificate(t *testing.T, name string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := pair{certFile: filepath.Join(t.TempDir(), name+".pem")}
	p.keyFile = p.certFile + ".key"
	for file, block := range map[string]*pem.Block{p.certFile: {Type: "CERTIFICATE", Bytes: der}, p.keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if p.Certificate, err = tls.LoadX509KeyPair(p.certFile, p.keyFile); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestOurCertificate is shown, also when it was renewed, and a service that wants one says so.
func TestOurCertificate(t *testing.T) {
	first, second, stranger := ownCertificate(t, "first"), ownCertificate(t, "second"), ownCertificate(t, "stranger")
	known := x509.NewCertPool()
	known.AddCert(first.Leaf)
	known.AddCert(second.Leaf)
	var shown string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { shown = r.TLS.PeerCertificates[0].Subject.CommonName }))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: known}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.StartTLS()
	defer s.Close()
	p := performer(t, action.Options{})
	with := func(o *compose.ClientTLS) string {
		t.Helper()
		o.InsecureSkipVerify = true
		acted, err := p.Perform(t.Context(), of(&compose.Component{TLS: o}, template(t, s.URL)), env{})
		if err != nil {
			t.Fatal(err)
		}
		if acted.Err != nil {
			return acted.Err.Message
		}
		return shown
	}
	if got := with(&compose.ClientTLS{}); !strings.Contains(got, "it asks for our certificate: tls.cert_file and tls.key_file of component api") {
		t.Error(got)
	}
	if got := with(&compose.ClientTLS{CertFile: stranger.certFile, KeyFile: stranger.keyFile}); !strings.Contains(got, "it does not take our certificate, the tls.cert_file of component api") {
		t.Error(got)
	}
	ours := &compose.Component{TLS: &compose.ClientTLS{CertFile: first.certFile, KeyFile: first.keyFile, InsecureSkipVerify: true}}
	ask := func() string {
		t.Helper()
		shown = ""
		if acted, err := p.Perform(t.Context(), of(ours, template(t, s.URL)), env{}); err != nil || acted.Err != nil {
			t.Fatalf("%v, %+v", err, acted.Err)
		}
		return shown
	}
	if got := ask(); got != "first" {
		t.Error(got)
	}
	for i, file := range []string{first.certFile, first.keyFile} { // one after the other, as they are renewed
		data, err := os.ReadFile([]string{second.certFile, second.keyFile}[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Duration(i+1) * time.Hour) // whatever the grain of the file system's clock
		if err := os.Chtimes(file, later, later); err != nil {
			t.Fatal(err)
		}
		if got, want := ask(), []string{"first", "second"}[i]; got != want {
			t.Errorf("after %s is renewed: %s", filepath.Base(file), got)
		}
	}
}
