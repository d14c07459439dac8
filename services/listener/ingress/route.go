package ingress

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// Router finds the endpoints that a path and a method name. A segment {name} stands for any text that is not
// empty, and a fixed segment goes before one.
type Router struct {
	fixed    map[string]*route // by the path as it is written, where no segment is a {name}
	patterns []*route          // all, the most specific first
}

// route is the endpoints of one path.
type route struct {
	segments  []segment
	endpoints []*Endpoint
}

type segment struct {
	text string // literal, or the name
	name bool
}

// Param is the value of a {name} segment.
type Param struct{ Name, Value string }

// Match is what a path and a method lead to.
type Match struct {
	// Endpoints of the path and the method in the order of the file; several where When tells them apart.
	Endpoints []*Endpoint
	Params    []Param
	// Found tells that the path is one of ours, whatever the method.
	Found bool
}

// NewRouter makes a router of the endpoints, in the order of the file.
func NewRouter(endpoints []*Endpoint) *Router {
	r := &Router{fixed: map[string]*route{}}
	byPattern := map[string]*route{}
	for _, e := range endpoints {
		segments := parsePattern(e.Path)
		key := patternKey(segments)
		rt := byPattern[key]
		if rt == nil {
			rt = &route{segments: segments}
			byPattern[key] = rt
			r.patterns = append(r.patterns, rt)
			if !slices.ContainsFunc(segments, func(s segment) bool { return s.name }) {
				r.fixed[e.Path] = rt
			}
		}
		rt.endpoints = append(rt.endpoints, e)
	}
	slices.SortStableFunc(r.patterns, func(a, b *route) int { return bySpecificity(a.segments, b.segments) })
	return r
}

// Match finds the endpoints. Path is as in the request line, without the query. Params are appended to params,
// which may be reused storage.
func (r *Router) Match(method, path string, params []Param) Match {
	if rt := r.fixed[path]; rt != nil {
		if es := rt.take(method); len(es) > 0 {
			return Match{Endpoints: es, Params: params[:0], Found: true}
		}
	}
	m := Match{}
	for _, rt := range r.patterns {
		p, ok := rt.match(path, params[:0])
		if !ok {
			continue
		}
		m.Found = true
		if es := rt.take(method); len(es) > 0 {
			return Match{Endpoints: es, Params: p, Found: true}
		}
	}
	return m
}

// At gives every endpoint of the path, whatever its method.
func (r *Router) At(path string) []*Endpoint {
	var all []*Endpoint
	for _, rt := range r.patterns {
		if _, ok := rt.match(path, nil); ok {
			all = append(all, rt.endpoints...)
		}
	}
	return all
}

// Allow lists the methods that the path takes, sorted.
func (r *Router) Allow(path string) []string {
	var methods []string
	for _, rt := range r.patterns {
		if _, ok := rt.match(path, nil); !ok {
			continue
		}
		for _, e := range rt.endpoints {
			methods = append(methods, e.Method)
		}
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}

// take gives the endpoints with the method, without allocating where all or none have it.
func (rt *route) take(method string) []*Endpoint {
	n := 0
	for _, e := range rt.endpoints {
		if e.Method == method {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case len(rt.endpoints):
		return rt.endpoints
	}
	es := make([]*Endpoint, 0, n)
	for _, e := range rt.endpoints {
		if e.Method == method {
			es = append(es, e)
		}
	}
	return es
}

func (rt *route) match(path string, params []Param) ([]Param, bool) {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return nil, false
	}
	for i, want := range rt.segments {
		got, after, more := strings.Cut(rest, "/")
		if more == (i == len(rt.segments)-1) {
			return nil, false
		}
		rest = after
		if !want.name && got == want.text {
			continue
		}
		if strings.IndexByte(got, '%') >= 0 {
			plain, err := url.PathUnescape(got)
			if err != nil {
				return nil, false
			}
			got = plain
		}
		switch {
		case want.name && got != "":
			params = append(params, Param{Name: want.text, Value: got})
		case want.name, got != want.text:
			return nil, false
		}
	}
	return params, true
}

func parsePattern(path string) []segment {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	segments := make([]segment, len(parts))
	for i, p := range parts {
		if len(p) > 2 && p[0] == '{' && p[len(p)-1] == '}' {
			segments[i] = segment{text: p[1 : len(p)-1], name: true}
		} else {
			segments[i] = segment{text: p}
		}
	}
	return segments
}

// patternKey is the same for the same pattern: /a/{x} and /a/{y} are two, each with its own names.
func patternKey(segments []segment) string {
	var b strings.Builder
	for _, s := range segments {
		if s.name {
			b.WriteString("/{" + s.text)
		} else {
			b.WriteString("/=" + s.text)
		}
	}
	return b.String()
}

func bySpecificity(a, b []segment) int {
	for i := range min(len(a), len(b)) {
		if a[i].name != b[i].name {
			if a[i].name {
				return 1
			}
			return -1
		}
	}
	return cmp.Compare(len(a), len(b))
}
