package ingress_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/listener/ingress"
)

func router(routes ...string) *ingress.Router {
	var endpoints []*ingress.Endpoint
	for _, r := range routes {
		method, path, _ := strings.Cut(r, " ")
		endpoints = append(endpoints, callback(compose.Callback{Method: method, Path: path}))
	}
	return ingress.NewRouter(endpoints)
}

// show writes a match as "METHOD pattern name=value …", or what else it is.
func show(m ingress.Match) string {
	if len(m.Endpoints) == 0 {
		return fmt.Sprintf("found=%v", m.Found)
	}
	parts := []string{m.Endpoints[0].Method, m.Endpoints[0].Path}
	for _, p := range m.Params {
		parts = append(parts, fmt.Sprintf("%s=%q", p.Name, p.Value))
	}
	return strings.Join(parts, " ")
}

func TestMatch(t *testing.T) {
	r := router("POST /hooks", "PUT /hooks", "POST /hooks/{id}", "POST /hooks/new", "GET /hooks/{id}", "POST /{a}/{b}/c", "POST /", "POST /콜백/{id}", "POST /{a}/x/{c}")
	tests := []struct{ method, path, want string }{
		{"POST", "/hooks", "POST /hooks"},
		{"PUT", "/hooks", "PUT /hooks"},
		{"GET", "/hooks", "found=true"},
		{"POST", "/", "POST /"},
		{"POST", "/hooks/", "found=false"},
		{"POST", "/hooks/new", "POST /hooks/new"},
		{"GET", "/hooks/new", `GET /hooks/{id} id="new"`},
		{"POST", "/hooks/a%2Fb%20c", `POST /hooks/{id} id="a/b c"`},
		{"POST", "/hooks/a+b", `POST /hooks/{id} id="a+b"`},
		{"POST", "/h%6fokS", "found=false"},
		{"POST", "/h%6foks", "POST /hooks"},
		{"POST", "/hooks/%zz", "found=false"},
		{"POST", "/hooks/..", `POST /hooks/{id} id=".."`},
		{"POST", "/a/x/c", `POST /{a}/x/{c} a="a" c="c"`},
		{"POST", "/a/b/c", `POST /{a}/{b}/c a="a" b="b"`},
		{"POST", "/%EC%BD%9C%EB%B0%B1/7", `POST /콜백/{id} id="7"`},
		{"POST", "/콜백/7", `POST /콜백/{id} id="7"`},
		{"POST", "//hooks", "found=false"},
		{"POST", "hooks", "found=false"},
		{"POST", "", "found=false"},
		{"OPTIONS", "*", "found=false"},
	}
	for _, tt := range tests {
		if got := show(r.Match(tt.method, tt.path, nil)); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.method, tt.path, got, tt.want)
		}
	}
}

func TestMatchSeveral(t *testing.T) {
	r := router("POST /x", "PUT /x", "POST /x")
	if n := len(r.Match("POST", "/x", nil).Endpoints); n != 2 {
		t.Errorf("%d endpoints with the method, want 2", n)
	}
}

func TestAllow(t *testing.T) {
	r := router("POST /x", "GET /{any}", "PUT /x", "POST /x", "DELETE /y")
	if d := cmp.Diff([]string{"GET", "POST", "PUT"}, r.Allow("/x")); d != "" {
		t.Error(d)
	}
	if got := r.Allow("/x/y"); len(got) != 0 {
		t.Errorf("methods %v of a path that is not there", got)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	r := router("POST /hooks", "GET /hooks", "POST /hooks/{id}")
	params := make([]ingress.Param, 0, 4)
	if n := testing.AllocsPerRun(100, func() {
		r.Match("POST", "/hooks/42", params[:0])
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// FuzzRoute holds that a match leads back to the path: the pattern with its names replaced is the path unescaped.
func FuzzRoute(f *testing.F) {
	for _, p := range []string{"/hooks", "/hooks/1", "/a/b/c", "/%2F/%zz/c", "//", "", "/hooks/%E2%82%AC", "/a/x/c"} {
		f.Add(p)
	}
	r := router("POST /hooks", "POST /hooks/{id}", "POST /{a}/{b}/c", "POST /{a}/x/{c}")
	f.Fuzz(func(t *testing.T, path string) {
		m := r.Match("POST", path, nil)
		if m.Found != (len(r.Allow(path)) > 0) {
			t.Fatalf("%q: found=%v, methods %v", path, m.Found, r.Allow(path))
		}
		if len(m.Endpoints) == 0 {
			return
		}
		params := m.Params
		segments := strings.Split(m.Endpoints[0].Path, "/")
		for i, s := range segments {
			if strings.HasPrefix(s, "{") {
				if "{"+params[0].Name+"}" != s || params[0].Value == "" {
					t.Fatalf("%q: %s for %s", path, params[0], s)
				}
				segments[i], params = params[0].Value, params[1:]
			}
		}
		got := strings.Split(path, "/")
		for i := range got {
			plain, err := url.PathUnescape(got[i])
			if err != nil {
				t.Fatalf("%q matched: %v", path, err)
			}
			got[i] = plain
		}
		if d := cmp.Diff(segments, got); d != "" {
			t.Fatalf("%q: %s", path, d)
		}
	})
}
