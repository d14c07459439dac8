package docker

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/moby/moby/client"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// lookTime bounds one look at whether something listens.
const lookTime = time.Second

// reaches refuses to start a container for what it cannot reach: what listens on this machine's loopback alone is not
// there for a container with a network of its own, and that looks like a tunnel that works and answers nothing.
func (e *Engine) reaches(ctx context.Context, spec *Spec) error {
	if e.OnHost() || !e.here() || len(spec.Reaches) == 0 {
		return nil
	}
	gateway, err := e.gateway(ctx)
	if err != nil {
		return err
	}
	for address, what := range spec.Reaches {
		host, port, err := net.SplitHostPort(address)
		if err != nil || !loopbackName(host) {
			continue
		}
		if listens(ctx, net.JoinHostPort(gateway, port)) || !listens(ctx, net.JoinHostPort("127.0.0.1", port)) {
			continue // it is reached, or nothing is there at all, which is another matter
		}
		return fault.New(fault.Invalid,
			fmt.Sprintf("%s listens on %s, this machine's loopback, where no container on the network %s gets to", what, address, e.Settings.Network),
			fmt.Sprintf("let it listen on 0.0.0.0 or %s as well, or give the containers this machine's network: SWITCHBACK_DOCKER_NETWORK=host", gateway))
	}
	return nil
}

// gateway is this machine's address in the containers' network.
func (e *Engine) gateway(ctx context.Context) (string, error) {
	got, err := e.client.NetworkInspect(ctx, e.Settings.Network, client.NetworkInspectOptions{})
	if err != nil {
		err = e.explain(err, "look at the network "+e.Settings.Network)
		if fault.CodeOf(err) == fault.NotFound {
			return "", fault.New(fault.NotFound, "the Docker engine has no network "+e.Settings.Network, "docker network create "+e.Settings.Network+", or set SWITCHBACK_DOCKER_NETWORK")
		}
		return "", err
	}
	for _, c := range got.Network.IPAM.Config {
		switch {
		case c.Gateway.Is4():
			return c.Gateway.String(), nil
		case c.Subnet.IsValid() && c.Subnet.Addr().Is4():
			return c.Subnet.Masked().Addr().Next().String(), nil // where it is by default, and then not always said
		}
	}
	return "", fault.New(fault.NotFound, "the network "+e.Settings.Network+" has no way to this machine", "choose another: SWITCHBACK_DOCKER_NETWORK")
}

// Gateway is the address of this machine that containers reach: its loopback on its own network.
func (e *Engine) Gateway(ctx context.Context) (string, error) {
	if e.OnHost() || !e.here() {
		return "127.0.0.1", nil
	}
	return e.gateway(ctx)
}

func loopbackName(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func listens(ctx context.Context, address string) bool {
	c, err := (&net.Dialer{Timeout: lookTime}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
