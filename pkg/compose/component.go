package compose

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

func componentTypes() []string { return []string{HTTPClient, Logger, NATS, Shell, HTTPServer} }

// componentShape are the fields of a component of a type; its actions' fields may stand beside them.
func componentShape(kind string) shape[Component] {
	s := shape[Component]{name: "component", doc: "An outside service, or a thing done in the runner.", fields: []field[Component]{
		text("id", "Its name, where components are a list.", func(c *Component) *string { return &c.ID }).like(idSchema()),
		choice("type", "What it is.", func(c *Component) *string { return &c.Type }, componentTypes()...).or(HTTPClient),
		special("action", "What it does, where that is one thing.", schema{"type": "object"},
			skip[Component]),
		special("actions", "What it does: a list, or a mapping by id.", schema{"type": []string{"array", "object"}},
			skip[Component]),
	}}
	if kind == HTTPClient || kind == HTTPServer {
		s.fields = append(s.fields,
			special("base_url", "What path is joined to.", urlSchema(),
				skip[Component]),
			rate("rate_limit", "Requests it may be sent: 10/s, 600/m. More wait.", func(c *Component) **Rate { return &c.RateLimit }),
			proxyField(),
			part("tls", "How its certificate is checked, and ours shown.", clientTLSShape, func(c *Component) **ClientTLS { return &c.TLS }),
			amount("max_response_size", "The largest response that is taken.", func(c *Component) *int64 { return &c.MaxResponseSize }).or("16MiB"),
		)
	}
	switch kind {
	case HTTPServer:
		s.fields = append(s.fields, serverFields()...)
	case Shell:
		s.fields = append(s.fields, whole("max_concurrent_count", "Commands at once; 0: no limit.",
			func(c *Component) *int { return &c.MaxConcurrentCount }, 0, 1_000_000))
	}
	return s
}

func proxyField() field[Component] {
	f := template("proxy", "The proxy to go through: HOST:PORT, or a URL with http, https or socks5; as HTTP_PROXY and the like say where it is not given.",
		newScopes().env, func(c *Component) **expr.Template { return &c.Proxy })
	read := f.read
	f.read = func(d *decoder, n *node, into *Component) {
		read(d, n, into)
		if into.Proxy == nil {
			return
		}
		if v, ok := into.Proxy.Literal(); ok && v != nil {
			if _, err := ProxyURL(value.Text(v)); err != nil {
				d.judgef(n, "write http://HOST:PORT, or https or socks5", "proxy must be an address, and is %s", n.word())
			}
		}
	}
	return f
}

// ProxyURL reads a proxy's address, as HTTP_PROXY is read: without a scheme it is http.
func ProxyURL(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) || u.Hostname() == "" || strings.ContainsAny(u.Host, " ") {
		return nil, fmt.Errorf("%q is no address of a proxy", u.Redacted())
	}
	return u, nil
}

// skip is for fields that are read elsewhere.
func skip[T any](*decoder, *node, *T) {}

func clientTLSShape() shape[ClientTLS] {
	file := func(name, doc string, p func(*ClientTLS) *string) field[ClientTLS] {
		f := text(name, doc, p)
		read := f.read
		f.read = func(d *decoder, n *node, into *ClientTLS) {
			read(d, n, into)
			d.wantFile(n, *p(into))
		}
		return f
	}
	return shape[ClientTLS]{name: "client tls", doc: "TLS of requests.", fields: []field[ClientTLS]{
		file("ca_file", "PEM file with the authorities to trust beside the system's.", func(t *ClientTLS) *string { return &t.CAFile }),
		file("cert_file", "PEM file with our certificate.", func(t *ClientTLS) *string { return &t.CertFile }),
		file("key_file", "PEM file with our key.", func(t *ClientTLS) *string { return &t.KeyFile }),
		text("server_name", "The name to expect in the certificate.", func(t *ClientTLS) *string { return &t.ServerName }),
		toggle("insecure_skip_verify", "Take any certificate. For tests alone.", func(t *ClientTLS) *bool { return &t.InsecureSkipVerify }),
	}}
}

// command is a program with its arguments, or a line for the shell.
func command[T any](name, doc string, p func(*T) *[]string) field[T] {
	return field[T]{name: name, doc: doc, schema: oneOrMany(schema{"type": "string"}), read: func(d *decoder, n *node, into *T) {
		if n.kind == list {
			*p(into) = d.many(n)
		} else if s, ok := d.words(n); ok {
			*p(into) = []string{"sh", "-c", s}
		}
	}}
}

func serverFields() []field[Component] {
	server := func(c *Component) *Server {
		if c.Server == nil {
			c.Server = &Server{}
		}
		return c.Server
	}
	commands := []field[Component]{
		command("start", "The command that runs the server.", func(c *Component) *[]string { return &server(c).Start }),
		command("install", "A command that is run once before the first start.", func(c *Component) *[]string { return &server(c).Install }),
		text("working_dir", "The folder to run in.", func(c *Component) *string { return &server(c).WorkingDir }),
	}
	manage := func() shape[Component] {
		return shape[Component]{name: "manage", doc: "The server's process.", fields: commands}
	}
	return slices.Concat(commands, []field[Component]{
		whole("port", "The port that the server listens on.", func(c *Component) *int { return &server(c).Port }, 1, 65535).or("8000"),
		text("base_path", "The prefix of its paths.", func(c *Component) *string { return &server(c).BasePath }),
		headers("env", "Variables of its process.", newScopes().env, func(c *Component) *map[string]*expr.Template { return &server(c).Env }),
		text("health_path", "A path that answers 200 when it is ready.", func(c *Component) *string { return &server(c).HealthPath }),
		special("manage", "The server's process, one level down.", ref(manage),
			func(d *decoder, n *node, c *Component) {
				if n.given() {
					manage().read(d, n, c)
				}
			}),
	})
}

// readComponents reads the section components.
func (d *decoder) readComponents(doc *Document, entries []entry) {
	servers := map[int]*Component{} // by port
	for _, e := range entries {
		c := d.component(e)
		if c == nil {
			continue
		}
		doc.Components[c.ID] = c
		d.declared[c.ID] = true
		if c.Server == nil {
			continue
		}
		if first := servers[c.Server.Port]; first == nil {
			servers[c.Server.Port] = c
		} else if !first.Server.Same(c.Server) { // they would end each other's, in turn
			at := e.n.get("port")
			if !at.given() {
				at = e.n
			}
			d.judgef(at, "give it another port, or describe one server in the same way", "the component %s starts another server on port %d", first.ID, c.Server.Port)
		}
	}
}

func (d *decoder) component(e entry) *Component {
	n := e.n
	if n.kind != mapping {
		d.wrongf(n, "", "a component must be a mapping, and is %s", n.word())
		return nil
	}
	kind := HTTPClient
	if t := n.get("type"); t.given() {
		word, ok := d.words(t)
		if ok && !d.oneOf(t, "type", word, componentTypes()) {
			word = Nearest(word, componentTypes()) // as what it was probably meant to be, the rest is read
		}
		if kind = word; kind == "" {
			// Its id is known all the same, so that nobody is told that it is missing.
			d.broken[e.id] = true
			known := componentDefinition()
			d.unknown(n, "component", slices.Sorted(maps.Keys(known.properties)))
			return nil
		}
	}
	c := &Component{Pos: n.place(), ID: e.id}
	d.placed[c] = n
	shape, actions := componentShape(kind), actionShape(kind)
	own := &node{kind: mapping, pos: n.pos, key: n.key, path: n.path}
	inline := &node{kind: mapping, pos: n.pos, key: n.key, path: n.path}
	for _, name := range n.names {
		switch f := n.fields[name]; {
		case shape.has(name):
			own.put(name, f)
		case actions.has(name):
			inline.put(name, f)
		default:
			d.wrongKeyf(f, suggest(name, slices.Concat(shape.names(), actions.names())), "a component of type %s has no field %q", kind, name)
		}
	}
	shape.read(d, own, c)
	if t := c.TLS; t != nil && (t.CertFile == "") != (t.KeyFile == "") {
		d.judgef(n.get("tls"), "write both, or neither", "a certificate of ours needs cert_file and key_file")
	}
	if c.Server != nil && len(c.Server.Start) == 0 {
		d.needf(n, "write start: the command that runs it", "it is not said how its server is started")
	}
	c.ID = e.id
	c.Actions = map[string]*Action{}
	several := section{singular: "action", plural: "actions", byID: true}
	written := d.entries(n, several)
	if !n.get("action").given() && !n.get("actions").given() {
		written = []entry{{DefaultAction, inline}}
	}
	for _, w := range written {
		if w.n.kind != mapping {
			d.wrongf(w.n, "", "an action must be a mapping, and is %s", w.n.word())
			continue
		}
		if w.n != inline {
			d.unknown(w.n, "action of type "+kind, append(actions.names(), "id"))
		}
		if a := d.action(c, kind, w.id, overlay(inline, w.n, actions.names()), own); a != nil {
			c.Actions[a.ID] = a
		}
	}
	return c
}

// overlay lays an action's known fields over those of its component; headers and params are merged key by key.
func overlay(under, over *node, known []string) *node {
	if under == over {
		return over
	}
	all := &node{kind: mapping, pos: over.pos, key: over.key, path: over.path}
	for _, name := range under.names {
		all.put(name, under.fields[name])
	}
	for _, name := range over.names {
		f, base := over.fields[name], under.get(name)
		if base != nil && base.kind == mapping && f.kind == mapping && (name == "headers" || name == "params" || name == "env") {
			f = mergeKeys(base, f, name == "headers")
		}
		if slices.Contains(known, name) {
			all.put(name, f)
		}
	}
	return all
}

func mergeKeys(base, over *node, foldCase bool) *node {
	all := &node{kind: mapping, pos: over.pos, key: over.key, path: over.path}
	for _, name := range base.names {
		replaced := slices.ContainsFunc(over.names, func(o string) bool { return foldCase && strings.EqualFold(o, name) && o != name })
		if !replaced {
			all.put(name, base.fields[name])
		}
	}
	for _, name := range over.names {
		all.put(name, over.fields[name])
	}
	return all
}

// address compiles an action's URL: endpoint, or base_url and path.
func (d *decoder) address(kind string, n, own *node, in scope) *expr.Template {
	endpoint, path, base := n.get("endpoint"), n.get("path"), own.get("base_url")
	if endpoint.given() {
		if path.given() {
			d.judgeKeyf(path, "keep one of them", "both endpoint and path are given")
		}
		s, ok := endpoint.text()
		if !ok {
			d.judgef(endpoint, "", "endpoint must be text, and is %s", endpoint.word())
		} else {
			d.scheme(endpoint, "endpoint", s)
		}
		return d.template(endpoint, in)
	}
	var baseText string
	if kind == HTTPServer {
		port, prefix := "8000", ""
		if p := own.get("port"); p.given() {
			port = fmt.Sprint(p.any())
		}
		if p, ok := own.get("base_path").text(); ok {
			prefix = "/" + strings.Trim(p, "/")
		}
		baseText = "http://127.0.0.1:" + port + prefix
	} else if base.given() {
		s, ok := base.text()
		if !ok {
			d.wrongf(base, "", "base_url must be text, and is %s", base.word())
			return nil
		}
		d.scheme(base, "base_url", s)
		if d.template(base, in) == nil {
			return nil
		}
		baseText = s
	}
	if !path.given() {
		if baseText == "" {
			d.needf(n, "write base_url and path, or endpoint", "it is not said where its requests go")
			return nil
		}
		return d.quiet(baseText, in)
	}
	s, ok := path.text()
	if !ok {
		d.wrongf(path, "", "path must be text, and is %s", path.word())
		return nil
	}
	if d.template(path, in) == nil {
		return nil
	}
	if baseText == "" {
		d.needf(path, "write base_url in the component, or endpoint in the place of path", "there is no base_url for the path")
		return nil
	}
	return d.quiet(joinURL(baseText, s), in)
}

// scheme reports a URL that names no protocol, as far as it is written out.
func (d *decoder) scheme(n *node, name, url string) {
	before, _, open := strings.Cut(url, "${")
	lower := strings.ToLower(before)
	if strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://") || open && !strings.ContainsAny(before, ":/.") {
		return
	}
	d.judgef(n, "write https://"+strings.TrimLeft(url, "/"), "%s must begin with http:// or https://", name)
}

// quiet compiles a value whose parts have been checked at their places.
func (d *decoder) quiet(v any, in scope) *expr.Template {
	t, problems := expr.Lenient(v, d.rules(in))
	if len(problems) > 0 && !d.stored {
		return nil
	}
	return t
}

// joinURL joins with one slash; a path that begins with a query or an expression is put behind as it is.
func joinURL(base, path string) string {
	if path == "" || path[0] == '?' || strings.HasPrefix(path, "${") && strings.HasSuffix(base, "/") {
		return base + path
	}
	return strings.TrimRight(base, "/") + "/" + strings.TrimLeft(path, "/")
}
