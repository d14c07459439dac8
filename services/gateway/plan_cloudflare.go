package gateway

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/gateway/cloudflare"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

func (p *planner) addCloudflare(g *compose.Gateway, r *reading) error {
	s := cloudflare.Settings{
		Binary: p.config.Cloudflared, StateDir: p.config.StateDir, Token: r.text("token", g.Token), Tunnel: r.text("tunnel", g.Tunnel),
		CredentialsFile: r.file("credentials_file", g.CredentialsFile), Hostname: r.text("hostname", g.Hostname),
	}
	if r.err != nil {
		return r.err
	}
	if g.Runtime == runtimeDocker {
		e, err := p.inside.engine()
		if err != nil {
			return err
		}
		s.Engine = e
	}
	if s.Binary == "" {
		s.Binary, _ = p.getenv("CLOUDFLARED_BIN")
	}
	named := s.Token != "" || s.Tunnel != ""
	switch {
	case named && len(g.Ports) > 1:
		return &tunnel.Error{Class: tunnel.Config, Message: "a named Cloudflare tunnel leads to one port, and this gateway has several", Hint: "write one gateway for each port"}
	case s.Tunnel != "" && s.Hostname == "":
		return &tunnel.Error{
			Class: tunnel.Config, Message: "tunnel needs hostname: cloudflared does not tell it",
			Hint: "write hostname: hooks.example.com, the name whose DNS record leads to the tunnel",
		}
	case s.Hostname != "" && !named:
		return &tunnel.Error{Class: tunnel.Config, Message: "hostname needs token, or tunnel and credentials_file", Hint: "a quick tunnel's name is Cloudflare's choice"}
	}
	if s.CredentialsFile != "" {
		if err := credentials(s.CredentialsFile); err != nil {
			return err
		}
	}
	for _, f := range g.Ports {
		pl := p.plan(g, f)
		pl.through = s.Token == "" // what a token's tunnel leads to is set at Cloudflare
		pl.asOne = named
		switch {
		case s.Token != "":
			pl.hint = "the tunnel's page at https://one.dash.cloudflare.com must have this name, leading to http://" + pl.target
		case named:
			pl.hint = "the name's DNS record must lead to this tunnel: `cloudflared tunnel route dns " + s.Tunnel + " " + s.Hostname + "`"
		default:
			pl.hint = "see https://www.cloudflarestatus.com; the name of a quick tunnel may take a minute to be known"
		}
		group := p.join(keyOf(fmt.Sprintf("cloudflare %s %d %s %+v", g.ID, f.Local, g.Runtime, s)), fmt.Sprintf("%s.%d", g.ID, f.Local), func(log *slog.Logger) tunnel.Driver {
			s.Log = log
			return cloudflare.New(s)
		}, pl)
		group.all = g.Replicas == "all"
	}
	return nil
}

func credentials(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return &tunnel.Error{Class: tunnel.Config, Err: err, Message: "credentials_file cannot be read: " + err.Error(), Hint: "it is what `cloudflared tunnel create` wrote"}
	}
	if !json.Valid(data) {
		return &tunnel.Error{Class: tunnel.Config, Message: "credentials_file " + file + " is not JSON", Hint: "it is what `cloudflared tunnel create` wrote"}
	}
	return nil
}
