package ingress_test

import (
	"iter"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/services/listener/ingress"
)

// tmpl compiles a template as the compose file would.
func tmpl(t testing.TB, v any) *expr.Template {
	t.Helper()
	sources := map[string]expr.Arg{}
	for _, s := range []string{"body", "query", "header", "path", "item", "request", "env"} {
		sources[s] = expr.NoArg
	}
	c, problems := expr.Compile(v, expr.Rules{Sources: sources})
	if len(problems) > 0 {
		t.Fatalf("compile %v: %+v", v, problems)
	}
	return c
}

// header is a request's header for tests.
type header map[string][]string

func (h header) PeekAll(name string) [][]byte {
	var out [][]byte
	for n, values := range h {
		if strings.EqualFold(n, name) {
			for _, v := range values {
				out = append(out, []byte(v))
			}
		}
	}
	return out
}

func (h header) All() iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		for n, values := range h {
			for _, v := range values {
				if !yield([]byte(n), []byte(v)) {
					return
				}
			}
		}
	}
}

const jsonType = "application/json"

// request is a POST with a body of the type.
func request(contentType, body string) *ingress.Request {
	h := header{}
	if contentType != "" {
		h["Content-Type"] = []string{contentType}
	}
	return &ingress.Request{
		ID: "req-1", Method: "POST", Path: "/webhook", Header: h, Body: []byte(body), MaxBody: 1 << 20,
		ReceivedAt: time.Date(2026, 11, 22, 10, 0, 0, 5, time.UTC), Remote: netip.MustParseAddr("192.0.2.1"),
		Env: func(name string) (string, bool) { return "of " + name, name == "SET" },
	}
}

// callback makes an endpoint, with defaults for what the test does not care about.
func callback(c compose.Callback) *ingress.Endpoint {
	if c.Path == "" {
		c.Path = "/webhook"
	}
	if c.Method == "" {
		c.Method = "POST"
	}
	return ingress.NewCallback("hooks", &c)
}

// one maps a request that gives exactly one callback.
func one(t *testing.T, c compose.Callback, r *ingress.Request) ingress.Item {
	t.Helper()
	items, err := callback(c).Callbacks(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(items) != 1 {
		t.Fatalf("%d items, want one", len(items))
	}
	return items[0]
}

// resultOf maps a request with result: v.
func resultOf(t *testing.T, v any, r *ingress.Request) string {
	t.Helper()
	it := one(t, compose.Callback{Result: tmpl(t, v)}, r)
	if it.Err != nil {
		t.Fatal(it.Err)
	}
	return string(it.Callback.Result)
}
