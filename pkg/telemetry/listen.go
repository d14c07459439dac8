package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// listen opens the admin port. One that is taken is an error only when somebody asked for it.
func (a *Admin) listen(ctx context.Context) (net.Listener, error) {
	host, port, err := net.SplitHostPort(a.config.Addr)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, fmt.Sprintf("the admin address %q is not host:port", a.config.Addr),
			"give an address such as 127.0.0.1:9464 with "+a.flag())
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", a.config.Addr)
	switch {
	case err == nil:
		return listener, nil
	case !errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.Wrap(err, fault.Unavailable, "cannot listen on the admin address "+a.config.Addr,
			"choose another with "+a.flag())
	case a.config.Asked:
		return nil, fault.Wrap(err, fault.Conflict, fmt.Sprintf("port %s, asked for by %s, is taken", port, a.flag()),
			"stop what uses the port, or choose another with "+a.flag()+" (port 0 is any free one)")
	}
	listener, err = config.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "no free port for the admin endpoint on "+host, "")
	}
	a.log.Warn("the admin port is taken, a free one is used instead",
		slog.String("taken", a.config.Addr), slog.String("addr", listener.Addr().String()))
	return listener, nil
}

func (a *Admin) flag() string {
	if a.config.Flag == "" {
		return "--admin-addr"
	}
	return a.config.Flag
}
