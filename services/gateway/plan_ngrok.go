package gateway

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/gateway/ngrok"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

func (p *planner) addNgrok(g *compose.Gateway, r *reading) error {
	s := ngrok.Settings{AuthToken: r.text("authtoken", g.AuthToken), ConnectURL: r.text("connect_url", g.ConnectURL)}
	domain, authority := r.text("domain", g.Domain), r.file("connect_ca", g.ConnectCA)
	if r.err != nil {
		return r.err
	}
	if g.AuthToken == nil {
		s.AuthToken, _ = p.getenv("NGROK_AUTHTOKEN")
	}
	if s.AuthToken == "" {
		return &tunnel.Error{
			Class: tunnel.Config, Message: "ngrok needs an authtoken, and NGROK_AUTHTOKEN is not set",
			Hint: "copy yours from https://dashboard.ngrok.com/get-started/your-authtoken: export NGROK_AUTHTOKEN=…",
		}
	}
	if s.ConnectURL != "" {
		if _, port, err := net.SplitHostPort(s.ConnectURL); err != nil || strings.Trim(port, "0123456789") != "" {
			return &tunnel.Error{
				Class: tunnel.Config, Err: err, Message: "connect_url " + strconv.Quote(s.ConnectURL) + " is not HOST:PORT",
				Hint: "write connect_url: connect.example.com:443",
			}
		}
	}
	if authority != "" {
		data, err := os.ReadFile(authority)
		if err != nil {
			return &tunnel.Error{Class: tunnel.Config, Err: err, Message: "connect_ca cannot be read: " + err.Error(), Hint: "it must be a PEM file"}
		}
		s.ConnectCA = data
	}
	driver, err := ngrok.New(s)
	if err != nil {
		return err
	}
	if domain != "" && len(g.Ports) > 1 {
		return &tunnel.Error{Class: tunnel.Config, Message: "a domain leads to one port, and this gateway has several", Hint: "write one gateway for each port"}
	}
	var plans []plan
	for _, f := range g.Ports {
		pl := p.plan(g, f)
		pl.name = domain
		pl.hint = "see https://status.ngrok.com and https://dashboard.ngrok.com/endpoints"
		plans = append(plans, pl)
	}
	p.join(keyOf(fmt.Sprintf("ngrok %+v", s)), g.ID, func(*slog.Logger) tunnel.Driver { return driver }, plans...)
	return nil
}
