package compose

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// references checks what every template of the document refers to outside of a run: gateways, listeners, variables.
func (d *decoder) references(doc *Document) {
	for _, u := range d.all {
		for _, r := range u.refs {
			switch r.Source {
			case "gateway":
				d.gatewayRef(doc, u, r)
			case "listener":
				d.listenerRef(doc, u, r)
			case "context":
				d.contextRef(u, r)
			}
		}
		d.unset(u.n)
	}
	for _, l := range doc.Listeners {
		for _, t := range l.Triggers {
			n := d.placed[t]
			if v, ok := literal(t.Workflow); ok {
				d.wanted = append(d.wanted, wanted{fmt.Sprint(v), n.get("workflow")})
			} else if t.Workflow == nil && len(doc.Workflows) > 1 {
				d.wrongf(n, "there is: "+strings.Join(doc.workflowIDs(), ", "), "the trigger does not say which workflow to run")
			}
		}
	}
	for _, g := range doc.Gateways {
		if g.OnURL != "" {
			d.wanted = append(d.wanted, wanted{g.OnURL, d.placed[g].get("on_url")})
		}
	}
	if len(doc.Workflows) == 0 && len(doc.Gateways) > 0 {
		d.tunnelsAlone()
	} else if len(doc.Workflows) == 0 {
		pos := Pos{}
		if len(d.files) > 0 {
			pos.File = d.files[0]
		}
		d.report(&d.needs, pos, "workflows", "there is no workflow to run", "add workflow: or workflows:")
	}
}

// tunnelsAlone drops what a file without workflows does not need for its tunnels: they are of use by themselves, also
// beside parts of something that is still to be written.
func (d *decoder) tunnelsAlone() {
	d.needs = slices.DeleteFunc(d.needs, func(p Problem) bool {
		return strings.HasPrefix(p.Path, "component") || strings.HasPrefix(p.Path, "listener") && strings.Contains(p.Message, noEndpoint)
	})
}

func literal(t *expr.Template) (any, bool) {
	if t == nil {
		return nil, false
	}
	return t.Literal()
}

func (d *Document) workflowIDs() []string {
	ids := make([]string, len(d.Workflows))
	for i, w := range d.Workflows {
		ids[i] = w.ID
	}
	return ids
}

func (d *decoder) gatewayRef(doc *Document, u use, r expr.Reference) {
	parts := []string{"public_url", "public_address", "port", "driver", "status"}
	if len(r.Path) > 0 && !slices.Contains(parts, r.Path[0].Name) {
		d.judgeRef(u, r, suggest(r.Path[0].Name, parts), "a gateway has no "+r.Path[0].Name)
	}
	if len(r.Path) == 1 && r.Path[0].Name == "public_url" {
		for _, l := range doc.Listeners {
			if strconv.Itoa(l.Port) == r.Arg {
				d.withoutBasePath(u, r, l)
			}
		}
	}
	port, err := strconv.Atoi(r.Arg)
	if err != nil || port < 1 || port > 65535 {
		d.judgeRef(u, r, "write ${gateway:8090.public_url}, with the local port", fmt.Sprintf("%q is not a port", r.Arg))
		return
	}
	if doc.Gateway(port) == nil && doc.listenerAt(port, true) == nil {
		hint := ""
		var ports []string
		for _, g := range doc.Gateways {
			for _, p := range g.Ports {
				ports = append(ports, strconv.Itoa(p.Local))
			}
		}
		switch {
		case len(ports) > 0:
			hint = suggest(r.Arg, ports)
		case doc.listenerAt(port, false) != nil:
			hint = "add a gateway for the port, or public_url to the listener"
		}
		d.judgeRef(u, r, hint, fmt.Sprintf("there is no gateway for port %d, and no listener on it has a public_url", port))
	}
}

func (d *decoder) contextRef(u use, r expr.Reference) {
	parts := []string{"run_id", "workflow", "timestamp"}
	if s := d.scopes; slices.Contains([]string{s.request.name, s.response.name, s.result.name}, u.in.name) {
		parts = append(parts, "run", "job", "attempt")
	}
	if len(r.Path) > 0 && !slices.Contains(parts, r.Path[0].Name) {
		d.judgeRef(u, r, suggest(r.Path[0].Name, parts), "the context has no "+r.Path[0].Name)
	}
}

// Gateway gives the gateway that forwards the local port, or nil.
func (d *Document) Gateway(port int) *Gateway {
	for _, g := range d.Gateways {
		if slices.ContainsFunc(g.Ports, func(p PortForward) bool { return p.Local == port }) {
			return g
		}
	}
	return nil
}

func (d *Document) listenerAt(port int, public bool) *Listener {
	for _, l := range d.Listeners {
		if l.Port == port && (l.PublicURL != "" || !public) {
			return l
		}
	}
	return nil
}

func (d *decoder) listenerRef(doc *Document, u use, r expr.Reference) {
	parts := []string{"id", "url", "base_url"}
	if len(r.Path) == 0 || !slices.Contains(parts, r.Path[0].Name) {
		name := ""
		if len(r.Path) > 0 {
			name = r.Path[0].Name
		}
		d.judgeRef(u, r, suggest(name, parts), "a listener has id, url and base_url")
		return
	}
	if r.Path[0].Name == "id" && r.Arg == "" {
		return
	}
	if l := doc.Listener(r.Arg); l != nil && r.Path[0].Name == "base_url" {
		d.withoutBasePath(u, r, l)
	}
	if r.Arg != "" {
		var ids []string
		for _, l := range doc.Listeners {
			if ids = append(ids, l.ID); l.ID == r.Arg {
				return
			}
		}
		if len(ids) == 0 {
			d.needf(u.n.at(r.At), "add the listener", "there is no listener for ${%s}", r.Text)
			return
		}
		d.judgeRef(u, r, suggest(r.Arg, ids), fmt.Sprintf("there is no listener %q", r.Arg))
		return
	}
	if doc.Listener("") == nil {
		d.needf(u.n.at(r.At), "add a listener with a callback", "there is no callback listener for ${%s}", r.Text)
	}
}

// withoutBasePath finds an address of a listener's callback that lacks the listener's base_path: a service that is told it
// gets 404, and the run sleeps until its deadline.
func (d *decoder) withoutBasePath(u use, r expr.Reference, l *Listener) {
	if l.BasePath == "" || !strings.HasPrefix(r.Follow, "/") || l.callbackAt(r.Follow) != nil {
		return
	}
	if public, err := url.Parse(l.PublicURL); err != nil || public.Path != "" {
		return // a proxy is between, and may do what it likes with paths
	}
	if c := l.callbackAt(l.BasePath + r.Follow); c != nil {
		d.wrongRef(u, r, fmt.Sprintf("write ${%s}%s", r.Text, c.Path), "this is no callback's address: the listener's base_path is missing")
	}
}
