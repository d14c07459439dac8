package compose

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
)

func listenerShape() shape[Listener] {
	return shape[Listener]{name: "listener", doc: "An HTTP server for callbacks or triggers.", fields: []field[Listener]{
		text("id", "Its name, for ${listener:ID.url}. Needed where there are several.", func(l *Listener) *string { return &l.ID }).like(idSchema()),
		choice("type", "What its one endpoint is, where that is written right here, and its default port.",
			func(l *Listener) *string { return &l.Type }, HTTPCallback, HTTPTrigger),
		choice("runtime", "Where it runs: in the process, or in a container that `switchback up` starts.",
			func(l *Listener) *string { return &l.Runtime }, "native", "docker").or("native"),
		text("host", "The address to listen on.", func(l *Listener) *string { return &l.Host }).or("0.0.0.0"),
		whole("port", "The port to listen on; 8090 for callbacks, 8091 for triggers.", func(l *Listener) *int { return &l.Port }, 0, 65535),
		text("base_path", "The prefix of every endpoint.", func(l *Listener) *string { return &l.BasePath }),
		text("public_url", "How the listener is reached from outside; the gateway's URL for this port where it is not given.",
			func(l *Listener) *string { return &l.PublicURL }),
		whole("max_concurrent_count", "Requests processed at once; 0: no limit. More wait for a slot.",
			func(l *Listener) *int { return &l.MaxConcurrentCount }, 0, 1_000_000).or("0"),
		amount("max_body_size", "The largest body that is taken.", func(l *Listener) *int64 { return &l.MaxBodySize }).or("4MiB"),
		span("read_timeout", "How long a client may take to send a request.", func(l *Listener) *time.Duration { return &l.ReadTimeout }).or("30s"),
		part("tls", "The certificate to serve HTTPS with.", tlsShape, func(l *Listener) **TLS { return &l.TLS }),
		choice("record", "What is kept of each request for `switchback callbacks`.", func(l *Listener) *string { return &l.Record },
			"off", "headers", "full").or("full"),
		texts("trusted_proxies", "Addresses whose X-Forwarded headers are believed.", func(l *Listener) *[]string { return &l.TrustedProxies }),
		parts("callbacks", "The endpoints for callbacks.", callbackShape, func(l *Listener) *[]*Callback { return &l.Callbacks }),
		parts("triggers", "The endpoints that start runs.", triggerShape, func(l *Listener) *[]*Trigger { return &l.Triggers }),
	}}
}

func tlsShape() shape[TLS] {
	file := func(name, doc string, p func(*TLS) *string) field[TLS] {
		f := text(name, doc, p)
		read := f.read
		f.read = func(d *decoder, n *node, into *TLS) {
			read(d, n, into)
			d.wantFile(n, *p(into))
		}
		return f
	}
	return shape[TLS]{name: "tls", doc: "A server's certificate.", fields: []field[TLS]{
		file("cert_file", "PEM file with the certificate chain.", func(t *TLS) *string { return &t.CertFile }).must(),
		file("key_file", "PEM file with the key.", func(t *TLS) *string { return &t.KeyFile }).must(),
		file("client_ca_file", "PEM file with the authorities of client certificates, which are then required.",
			func(t *TLS) *string { return &t.ClientCAFile }),
	}}
}

// wantFile notes a file that cannot be read here.
func (d *decoder) wantFile(n *node, path string) bool {
	if path == "" || d.look == nil {
		return true
	}
	if _, err := d.look(path); err != nil {
		d.needf(n, "put it there, or write where it is", "%v", err)
		return false
	}
	return true
}

// endpointFields are the fields that callbacks and triggers share.
func endpointFields[T any](in scope, e func(*T) endpoint) []field[T] {
	return []field[T]{
		text("path", "The path, with the listener's base_path in front; {name} stands for one segment.", func(t *T) *string { return e(t).path }).must(),
		text("method", "The HTTP method.", func(t *T) *string { return e(t).method }).or("POST").like(methodSchema()),
		toggle("bulk", "One request brings several items.", func(t *T) *bool { return e(t).bulk }).or("false"),
		template("item", "The list of items in bulk, else the part of the body that ${item} stands for.", in,
			func(t *T) **expr.Template { return e(t).item }),
		template("when", "Requests for which this is false go to the next endpoint on the path.", in, func(t *T) **expr.Template { return e(t).when }),
		template("ignore", "Requests, or items of bulk, for which this is true are answered, and nothing comes of them.", in,
			func(t *T) **expr.Template { return e(t).ignore }),
		part("verify", "How the signature is checked.", verifyShape, func(t *T) **Verify { return e(t).verify }),
		part("handshake", "The provider's handshake that is answered here.", handshakeShape, func(t *T) **Handshake { return e(t).handshake }),
		part("respond", "The answer to an accepted request.", respondShape, func(t *T) **Respond { return e(t).respond }),
		template("dedupe_by", "The sender's id of a delivery: the same one is taken once.", in, func(t *T) **expr.Template { return e(t).dedupeBy }),
		span("dedupe_for", "How long deliveries are remembered.", func(t *T) *time.Duration { return e(t).dedupeFor }).or("24h"),
		rate("rate_limit", "Requests an endpoint takes: 10/s, 600/m. More are answered 429.", func(t *T) **Rate { return e(t).rateLimit }),
		texts("allow_from", "Addresses or networks that may call.", func(t *T) *[]string { return e(t).allowFrom }),
	}
}

func callbackShape() shape[Callback] {
	in := newScopes().received
	s := shape[Callback]{name: "callback", doc: "An endpoint that takes callbacks.", fields: endpointFields(in, callbackEndpoint)}
	s.fields = append(s.fields,
		template("identify_by", "The id that a run waits for; "+DefaultCallbackID+" where it is not given.", in,
			func(c *Callback) **expr.Template { return &c.IdentifyBy }),
		template("status", "The status that success_when and fail_when judge.", in, func(c *Callback) **expr.Template { return &c.Status }),
		texts("success_when", "Values of status that mean success.", func(c *Callback) *[]string { return &c.SuccessWhen }),
		texts("fail_when", "Values of status that mean failure.", func(c *Callback) *[]string { return &c.FailWhen }),
		template("result", "What the run gets; the whole body where it is not given.", in, func(c *Callback) **expr.Template { return &c.Result }),
		template("progress", "What is shown of a callback that neither succeeds nor fails: 0 to 100, or {percent, message}.", in,
			func(c *Callback) **expr.Template { return &c.Progress }),
		template("error", "The message of a failure.", in, func(c *Callback) **expr.Template { return &c.Error }),
	)
	return s
}

func triggerShape() shape[Trigger] {
	in := newScopes().received
	s := shape[Trigger]{name: "trigger", doc: "An endpoint that starts runs.", fields: endpointFields(in, triggerEndpoint)}
	s.fields = append(s.fields,
		template("workflow", "The workflow to run; the only one where it is not given.", in, func(t *Trigger) **expr.Template { return &t.Workflow }),
		template("input", "The run's input; the whole body where it is not given.", in, func(t *Trigger) **expr.Template { return &t.Input }),
	)
	return s
}

func respondShape() shape[Respond] {
	in := newScopes().received
	return shape[Respond]{name: "respond", doc: "The answer to an accepted request.", fields: []field[Respond]{
		whole("status", "The HTTP status.", func(r *Respond) *int { return &r.Status }, 200, 599).or("200"),
		headers("headers", "Headers of the answer.", in, func(r *Respond) *map[string]*expr.Template { return &r.Headers }),
		template("body", "The body of the answer: text as it is, all else as JSON.", in, func(r *Respond) **expr.Template { return &r.Body }),
	}}
}

// headers is a mapping of templates.
func headers[T any](name, doc string, in scope, p func(*T) *map[string]*expr.Template) field[T] {
	return field[T]{name: name, doc: doc, schema: schema{"type": "object"}, read: func(d *decoder, n *node, into *T) {
		if n.kind != mapping {
			if n.given() {
				d.wrongf(n, "", "%s must be a mapping, and is %s", name, n.word())
			}
			return
		}
		all := map[string]*expr.Template{}
		for _, k := range n.names {
			if t := d.template(n.fields[k], in); t != nil {
				all[k] = t
			}
		}
		*p(into) = all
	}}
}

// rate is an amount per time.
func rate[T any](name, doc string, p func(*T) **Rate) field[T] {
	s := schema{"type": "string", "pattern": `^\d+\s*/`}
	return field[T]{name: name, doc: doc, schema: s, read: func(d *decoder, n *node, into *T) {
		s, ok := d.words(n)
		if !ok {
			return
		}
		r, err := parseRate(s)
		if err != nil {
			d.wrongf(n, "write an amount per time: 10/s, 600/m, 100/10s", "%s must be a rate, and is %s", name, n.word())
			return
		}
		*p(into) = r
	}}
}

// readListeners reads the section listeners.
func (d *decoder) readListeners(doc *Document, entries []entry) {
	for _, e := range entries {
		if l := d.listener(e); l != nil {
			doc.Listeners = append(doc.Listeners, l)
		}
	}
}

func (d *decoder) listener(e entry) *Listener {
	n := e.n
	if n.kind != mapping {
		d.wrongf(n, "", "a listener must be a mapping, and is %s", n.word())
		return nil
	}
	l := &Listener{Pos: n.place(), Port: -1}
	own, inline, isTrigger := d.inlineEndpoint(n)
	listenerShape().read(d, own, l)
	l.ID = e.id
	if l.Type == "" {
		l.Type = HTTPCallback
		if isTrigger || n.get("triggers").given() && !n.get("callbacks").given() {
			l.Type = HTTPTrigger
		}
	}
	if inline != nil {
		if l.Type == HTTPTrigger {
			t := new(Trigger)
			if d.placed[t] = inline; triggerShape().read(d, inline, t) {
				l.Triggers = append(l.Triggers, t)
			}
		} else {
			c := new(Callback)
			if d.placed[c] = inline; callbackShape().read(d, inline, c) {
				l.Callbacks = append(l.Callbacks, c)
			}
		}
	}
	if l.Port < 0 {
		l.Port = 8090
		if l.Type == HTTPTrigger {
			l.Port = 8091
		}
	}
	d.listenerURLs(l, n)
	for _, a := range l.TrustedProxies {
		d.network(n.get("trusted_proxies"), a)
	}
	d.endpoints(l, n)
	return l
}

// inlineEndpoint parts the listener's own fields from those of an endpoint that is written right in it.
func (d *decoder) inlineEndpoint(n *node) (own, inline *node, isTrigger bool) {
	own = &node{kind: mapping, pos: n.pos, key: n.key, path: n.path}
	mine, callback, trigger := listenerShape(), callbackShape(), triggerShape()
	several := n.get("callbacks").given() || n.get("triggers").given()
	for _, name := range n.names {
		f := n.fields[name]
		switch {
		case mine.has(name):
			own.put(name, f)
		case !callback.has(name) && !trigger.has(name):
			d.wrongKeyf(f, suggest(name, slices.Concat(mine.names(), callback.names())), "a listener has no field %q", name)
		case several:
			d.wrongKeyf(f, "move it into an entry of callbacks or triggers", "a listener with several endpoints has no %s of its own", name)
		default:
			if inline == nil {
				inline = &node{kind: mapping, pos: n.pos, key: n.key, path: n.path}
			}
			inline.put(name, f)
			isTrigger = isTrigger || !callback.has(name)
		}
	}
	return own, inline, isTrigger
}

func (d *decoder) listenerURLs(l *Listener, n *node) {
	if l.BasePath != "" {
		if l.BasePath = strings.TrimRight(l.BasePath, "/"); l.BasePath != "" {
			if l.BasePath[0] != '/' {
				l.BasePath = "/" + l.BasePath
			}
			d.goodPath(n.get("base_path"), l.BasePath)
		}
	}
	if l.PublicURL != "" {
		u, err := url.Parse(l.PublicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			d.wrongf(n.get("public_url"), "write https://host, without a query", "public_url must be an http or https URL, and is %q", l.PublicURL)
		}
		l.PublicURL = strings.TrimRight(l.PublicURL, "/")
	}
}

// network checks an address or a network.
func (d *decoder) network(n *node, s string) {
	if _, err := netip.ParsePrefix(s); err == nil {
		return
	}
	if _, err := netip.ParseAddr(s); err != nil {
		d.wrongf(n, "write 192.0.2.7 or 192.0.2.0/24", "%q is neither an address nor a network", s)
	}
}

func methods() []string {
	return []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
	}
}
