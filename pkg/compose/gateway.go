package compose

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

// Gateway types and drivers.
const (
	HTTPTunnel = "http-tunnel"
	SSHTunnel  = "ssh-tunnel"

	Ngrok      = "ngrok"
	Cloudflare = "cloudflare"
	SSH        = "ssh"
)

func gatewayShape() shape[Gateway] {
	in := newScopes().env
	setting := func(name, doc string, p func(*Gateway) **expr.Template) field[Gateway] {
		f := templateOf(name, doc, in, p, scalar)
		f.schema = textSchema()
		return f
	}
	return shape[Gateway]{name: "gateway", doc: "A tunnel that gives local ports a public URL.", fields: []field[Gateway]{
		text("id", "Its name. Needed where there are several.", func(g *Gateway) *string { return &g.ID }).like(idSchema()),
		choice("type", "The kind of tunnel.", func(g *Gateway) *string { return &g.Type }, HTTPTunnel, SSHTunnel),
		choice("driver", "Of an http-tunnel: whose tunnel it is.", func(g *Gateway) *string { return &g.Driver }, Ngrok, Cloudflare),
		choice("runtime", "Where it runs.", func(g *Gateway) *string { return &g.Runtime }, "native", "docker").or("native"),
		special("port", `The local port, or a list of them; of an ssh-tunnel also "REMOTE:LOCAL" and "REMOTE:HOST:LOCAL".`,
			oneOrMany(schema{"type": []string{"integer", "string"}, "minimum": 1, "maximum": 65535}),
			readPorts).must(),
		text("target", "The host that the ports are on.", func(g *Gateway) *string { return &g.Target }).or("localhost"),
		setting("authtoken", "ngrok: the account's token.", func(g *Gateway) **expr.Template { return &g.AuthToken }),
		setting("domain", "ngrok: the domain to serve.", func(g *Gateway) **expr.Template { return &g.Domain }),
		setting("connect_url", "ngrok: another edge than the public one.", func(g *Gateway) **expr.Template { return &g.ConnectURL }),
		setting("connect_ca", "ngrok: PEM file with that edge's authority.", func(g *Gateway) **expr.Template { return &g.ConnectCA }),
		setting("token", "cloudflare: the token of a named tunnel.", func(g *Gateway) **expr.Template { return &g.Token }),
		setting("tunnel", "cloudflare: the id or name of a tunnel, with credentials_file.", func(g *Gateway) **expr.Template { return &g.Tunnel }),
		setting("credentials_file", "cloudflare: the tunnel's credentials.", func(g *Gateway) **expr.Template { return &g.CredentialsFile }),
		setting("hostname", "cloudflare: the host name that leads to a named tunnel.", func(g *Gateway) **expr.Template { return &g.Hostname }),
		setting("public_url", "ssh: the address that people use, where it is not http://HOST:REMOTE.",
			func(g *Gateway) **expr.Template { return &g.PublicURL }),
		choice("url_from", "ssh: session, where the server announces the URL.", func(g *Gateway) *string { return &g.URLFrom }, "session"),
		part("connection", "ssh: the server and the account.", connectionShape, func(g *Gateway) **SSHConnection { return &g.Connection }),
		text("on_url", "A workflow that is run with {port, public_url, previous_url, generation} whenever the URL is new.",
			func(g *Gateway) *string { return &g.OnURL }),
		choice("replicas", "How many of several processes hold the tunnel; all is for cloudflare's named tunnels.",
			func(g *Gateway) *string { return &g.Replicas }, "one", "all").or("one"),
	}}
}

// readPorts reads a port, or a list of ports and forwards.
func readPorts(d *decoder, n *node, g *Gateway) {
	items := []*node{n}
	if n.kind == list {
		if items = n.items; len(items) == 0 {
			d.wrongf(n, "", "port is an empty list")
		}
	}
	for _, item := range items {
		s, ok := d.words(item)
		if !ok {
			if !item.given() {
				d.wrongf(item, "", "port must be a number")
			}
			continue
		}
		f, err := parseForward(s)
		if err != nil {
			d.wrongf(item, `write 8090, "9000:8090" or "9000:10.0.0.5:8090"`, "port %q: %v", s, err)
			continue
		}
		g.Ports = append(g.Ports, f)
	}
}

func parseForward(s string) (PortForward, error) {
	parts := strings.Split(s, ":")
	if len(parts) > 3 {
		return PortForward{}, errors.New("has more than three parts")
	}
	port := func(s string, least int) (int, error) {
		p, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			return 0, fmt.Errorf("%q is not a number", s)
		}
		if p < least || p > 65535 {
			return 0, fmt.Errorf("%d is not from %d to 65535", p, least)
		}
		return p, nil
	}
	local, err := port(parts[len(parts)-1], 1)
	if err != nil {
		return PortForward{}, err
	}
	f := PortForward{Remote: local, Local: local}
	if len(parts) > 1 {
		if f.Remote, err = port(parts[0], 0); err != nil {
			return PortForward{}, err
		}
	}
	if len(parts) == 3 {
		if f.Host = strings.TrimSpace(parts[1]); f.Host == "" {
			return PortForward{}, errors.New("the host is empty")
		}
	}
	return f, nil
}

// auth is how an ssh-tunnel's account is proved; it is part of SSHConnection.
type auth struct{ *SSHConnection }

func connectionShape() shape[SSHConnection] {
	in := newScopes().env
	setting := func(name, doc string, p func(*SSHConnection) **expr.Template) field[SSHConnection] {
		return templateOf(name, doc, in, p, scalar)
	}
	authShape := func() shape[auth] {
		secret := func(name, doc string, p func(*SSHConnection) **expr.Template) field[auth] {
			return templateOf(name, doc, in, func(a *auth) **expr.Template { return p(a.SSHConnection) }, scalar)
		}
		return shape[auth]{name: "auth", doc: "How an ssh account is proved.", fields: []field[auth]{
			choice("type", "The proof.", func(a *auth) *string { return &a.AuthType }, "keyfile", "password", "agent").must(),
			secret("username", "The account.", func(c *SSHConnection) **expr.Template { return &c.Username }),
			secret("keyfile", "The private key.", func(c *SSHConnection) **expr.Template { return &c.Keyfile }),
			secret("passphrase", "The private key's passphrase.", func(c *SSHConnection) **expr.Template { return &c.Passphrase }),
			secret("password", "The password.", func(c *SSHConnection) **expr.Template { return &c.Password }),
		}}
	}
	return shape[SSHConnection]{name: "connection", doc: "An ssh server and account.", fields: []field[SSHConnection]{
		setting("host", "The server.", func(c *SSHConnection) **expr.Template { return &c.Host }).must(),
		whole("port", "The server's port.", func(c *SSHConnection) *int { return &c.Port }, 1, 65535).or("22"),
		special("auth", "How the account is proved.", ref(authShape),
			func(d *decoder, n *node, c *SSHConnection) {
				if authShape().read(d, n, &auth{c}) {
					d.sshAuth(c, n)
				}
			}).must(),
		setting("known_hosts", "The file of known host keys; ~/.ssh/known_hosts where it is not given.",
			func(c *SSHConnection) **expr.Template { return &c.KnownHosts }),
		toggle("insecure_ignore_host_key", "Take any host key. For tests alone.", func(c *SSHConnection) *bool { return &c.InsecureIgnoreHostKey }),
		span("keepalive_interval", "How often the connection is probed.", func(c *SSHConnection) *time.Duration { return &c.KeepaliveInterval }).or("10s"),
		span("retry_interval", "The first pause before connecting again.", func(c *SSHConnection) *time.Duration { return &c.RetryInterval }).or("5s"),
		whole("max_retry_count", "How often to connect again; 0: for ever.", func(c *SSHConnection) *int { return &c.MaxRetryCount }, 0, 1_000_000).or("0"),
	}}
}

func (d *decoder) sshAuth(c *SSHConnection, n *node) {
	needed := map[string][]string{"keyfile": {"username", "keyfile"}, "password": {"username", "password"}, "agent": {"username"}}[c.AuthType]
	for _, name := range needed {
		if !n.get(name).given() {
			d.wrongf(n, "", "auth of type %s needs %s", c.AuthType, name)
		}
	}
	for _, name := range []string{"keyfile", "passphrase", "password"} {
		if v := n.get(name); v.given() && !slices.Contains(needed, name) && (name != "passphrase" || c.AuthType != "keyfile") {
			d.wrongKeyf(v, "", "auth of type %s has no %s", c.AuthType, name)
		}
	}
	if path := d.settingFile(c.Keyfile, n.get("keyfile")); path != "" && runtime.GOOS != "windows" {
		if info, err := d.stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			d.needf(n.get("keyfile"), "chmod 600 "+path, "the key file can be read by others (mode %04o)", info.Mode().Perm())
		}
	}
}

// settingFile looks for a file that a template names, where it can be told now. It gives the file's name.
func (d *decoder) settingFile(t *expr.Template, n *node) string {
	if t == nil || d.look == nil || d.unset(n) {
		return ""
	}
	v, err := t.Eval(environment(d.env))
	if err != nil {
		return ""
	}
	if path := value.Text(v); d.wantFile(n, path) {
		return path
	}
	return ""
}

// readGateways reads the section gateways.
func (d *decoder) readGateways(doc *Document, entries []entry) {
	for _, e := range entries {
		g := &Gateway{Pos: e.n.place()}
		if !gatewayShape().read(d, e.n, g) {
			continue
		}
		g.ID = e.id
		d.placed[g] = e.n
		d.gateway(g, e.n)
		d.portsOnce(g, e.n.get("port"))
		for _, p := range g.Ports {
			d.forwardedOnce(doc, g, p)
		}
		doc.Gateways = append(doc.Gateways, g)
	}
}

// portsOnce looks for a port that one gateway has twice.
func (d *decoder) portsOnce(g *Gateway, n *node) {
	for i, p := range g.Ports {
		at := n
		if n.kind == list && len(n.items) == len(g.Ports) {
			at = n.items[i]
		}
		before := g.Ports[:i]
		if slices.ContainsFunc(before, func(o PortForward) bool { return o.Local == p.Local }) {
			d.wrongf(at, "a local port has one public URL: ${gateway:PORT.public_url}", "the local port %d is forwarded twice", p.Local)
		} else if g.Type == SSHTunnel && p.Remote != 0 && slices.ContainsFunc(before, func(o PortForward) bool { return o.Remote == p.Remote }) {
			d.wrongf(at, `give each its own, or let the server pick: "0:8090"`, "the server's port %d is asked for twice", p.Remote)
		}
	}
}

// forwardedOnce looks for a local port that another gateway has.
func (d *decoder) forwardedOnce(doc *Document, g *Gateway, p PortForward) {
	for _, other := range doc.Gateways {
		if slices.ContainsFunc(other.Ports, func(o PortForward) bool { return o.Local == p.Local }) {
			d.report(&d.problems, g.Pos, "gateways."+g.ID, fmt.Sprintf("the local port %d is forwarded twice, by %s and %s", p.Local, other.ID, g.ID),
				"a local port has one public URL: ${gateway:PORT.public_url}")
			return
		}
	}
}

// ngrokVariable is where a gateway of ngrok finds its token when the file names none.
const ngrokVariable = "NGROK_AUTHTOKEN"

// gateway checks that what is given goes with the type and the driver.
func (d *decoder) gateway(g *Gateway, n *node) {
	if g.Type == "" {
		switch {
		case n.get("type").given():
			return // not known, and reported
		case g.Connection != nil:
			g.Type = SSHTunnel
		case g.Driver != "":
			g.Type = HTTPTunnel
		default:
			d.wrongf(n, "write type: http-tunnel or type: ssh-tunnel", "a gateway needs type")
			return
		}
	}
	mine := map[string][]string{
		Ngrok:      {"driver", "authtoken", "domain", "connect_url", "connect_ca"},
		Cloudflare: {"driver", "token", "tunnel", "credentials_file", "hostname"},
		SSH:        {"connection", "public_url", "url_from"},
	}
	switch {
	case g.Type == SSHTunnel:
		g.Driver = SSH
		if !n.get("connection").given() {
			d.wrongf(n, "", "an ssh-tunnel needs connection")
		}
	case g.Driver == "":
		if !n.get("driver").given() {
			d.wrongf(n, "write driver: ngrok or driver: cloudflare", "an http-tunnel needs driver")
		}
		return
	}
	for _, name := range n.names {
		for driver, names := range mine {
			if driver != g.Driver && slices.Contains(names, name) && n.get(name).given() && !slices.Contains(mine[g.Driver], name) {
				d.wrongKeyf(n.get(name), "", "a gateway of %s has no %s", g.Driver, name)
				break
			}
		}
	}
	if g.Driver != SSH {
		for _, p := range g.Ports {
			if p.Remote != p.Local || p.Host != "" {
				d.wrongf(n.get("port"), "write the local port alone, and the host as target", "only an ssh-tunnel chooses its remote port")
				break
			}
		}
	}
	if g.Driver == Ngrok && !n.get("authtoken").given() {
		if token, _ := d.env(ngrokVariable); token == "" {
			d.needf(n, "copy yours from https://dashboard.ngrok.com/get-started/your-authtoken: export "+ngrokVariable+"=…",
				"ngrok needs an authtoken, and %s is not set", ngrokVariable)
		}
	}
	d.cloudflare(g, n)
}

func (d *decoder) cloudflare(g *Gateway, n *node) {
	if g.Driver != Cloudflare {
		return
	}
	token, tunnel, file := n.get("token"), n.get("tunnel"), n.get("credentials_file")
	switch {
	case token.given() && tunnel.given():
		d.wrongKeyf(tunnel, "keep one of them", "both token and tunnel are given")
	case tunnel.given() && !file.given():
		d.wrongf(tunnel, "it is the JSON file that `cloudflared tunnel create` wrote", "tunnel needs credentials_file")
	case file.given() && !tunnel.given():
		d.wrongKeyf(file, "", "credentials_file needs tunnel")
	}
	if g.Replicas == "all" && !token.given() && !tunnel.given() {
		d.wrongf(n.get("replicas"), "", "only a named tunnel can be held by several processes")
	}
	if path := d.settingFile(g.CredentialsFile, file); path != "" {
		if data, err := d.look(path); err == nil && !json.Valid(data) {
			d.needf(file, "it is what `cloudflared tunnel create` wrote", "the credentials file is not JSON")
		}
	}
}
