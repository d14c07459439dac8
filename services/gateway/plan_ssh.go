package gateway

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/gateway/ssh"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

func (p *planner) addSSH(g *compose.Gateway, r *reading) error {
	c := g.Connection
	s := ssh.Settings{
		Host: r.text("connection.host", c.Host), Port: c.Port, Username: r.text("connection.auth.username", c.Username),
		KnownHosts: r.file("connection.known_hosts", c.KnownHosts), InsecureIgnoreHostKey: c.InsecureIgnoreHostKey,
		PublicURL: r.text("public_url", g.PublicURL), FromSession: g.URLFrom == "session", Keepalive: c.KeepaliveInterval,
	}
	switch c.AuthType {
	case "keyfile":
		s.Keyfile = r.file("connection.auth.keyfile", c.Keyfile)
		s.Passphrase = r.text("connection.auth.passphrase", c.Passphrase)
	case "password":
		s.Password = r.text("connection.auth.password", c.Password)
	case "agent":
		socket, _ := p.getenv("SSH_AUTH_SOCK")
		if s.Agent = socket; socket == "" {
			return &tunnel.Error{
				Class: tunnel.Config, Message: "there is no SSH agent: SSH_AUTH_SOCK is not set",
				Hint: "start one (`eval $(ssh-agent)`, `ssh-add`), or use auth type keyfile",
			}
		}
	}
	if r.err != nil {
		return r.err
	}
	if s.Keyfile != "" {
		if err := ssh.CheckKey(s.Keyfile, s.Passphrase); err != nil {
			return err
		}
	}
	if len(g.Ports) > 1 && (s.FromSession || s.PublicURL != "") {
		return &tunnel.Error{
			Class: tunnel.Config, Message: "public_url and url_from are for one port, and this gateway has several",
			Hint: "write one gateway for each port",
		}
	}
	var plans []plan
	for _, f := range g.Ports {
		pl := p.plan(g, f)
		pl.trust = s.FromSession || s.PublicURL != ""
		if !pl.trust {
			pl.proto = "http"
		} else if strings.HasPrefix(s.PublicURL, "http://") {
			pl.proto = "http"
		}
		pl.policy = tunnel.Policy{First: c.RetryInterval, Max: c.MaxRetryCount}
		pl.hint = "sshd binds forwards to its own loopback unless sshd_config has `GatewayPorts clientspecified`; or a firewall closes the port"
		plans = append(plans, pl)
	}
	group := p.join(keyOf(fmt.Sprintf("ssh %+v", s)), g.ID, func(log *slog.Logger) tunnel.Driver {
		s.Log = log
		return ssh.New(s)
	}, plans...)
	for i, pl := range group.plans {
		for _, other := range group.plans[:i] {
			if pl.remote != 0 && pl.remote == other.remote {
				return &tunnel.Error{
					Class: tunnel.Config, Message: fmt.Sprintf("port %d of the server is asked for twice, by %s and %s", pl.remote, other.id, pl.id),
					Hint: fmt.Sprintf(`give each its own, or let the server pick: "0:%d"`, pl.port),
				}
			}
		}
	}
	return nil
}
