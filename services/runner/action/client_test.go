package action_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
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
