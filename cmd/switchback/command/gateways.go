package command

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/cmd/switchback/show"
)

type gatewaysCommand struct {
	List  gatewaysListCommand  `cmd:"" default:"withargs" help:"List tunnels: state, public URL, since when, last error."`
	Check gatewaysCheckCommand `cmd:"" help:"Walk the way of a tunnel, each step timed, and say what to mend."`
}

type gatewaysListCommand struct {
	system
	format
}

// Run lists the tunnels.
func (g *gatewaysListCommand) Run(ctx context.Context, s *streams) error {
	return g.with(ctx, func(c *client.Client) error {
		all, err := c.Gateways(ctx)
		if err != nil {
			return err
		}
		return g.print(s, all, func() error {
			if len(all) == 0 {
				fmt.Fprintln(s.err, "No tunnel is open. A section gateway in the compose file opens one with `switchback up`; `switchback tunnel PORT` needs no file.")
				return nil
			}
			now := time.Now()
			rows := make([][]string, len(all))
			for i, t := range all {
				rows[i] = []string{t.ID, strconv.Itoa(t.Port), t.Driver, state(&t, now), t.PublicURL, show.Relative(t.Since, now), t.Error}
			}
			return show.Table(s.out, []string{"GATEWAY", "PORT", "DRIVER", "STATE", "PUBLIC URL", "SINCE", "ERROR"}, rows)
		})
	})
}

// refreshed is how old a status is at most while its process lives: it is published every third of the lease, 5 s where nothing else is set (gateway.lease_ttl).
const refreshed = 7 * time.Second

// state is a tunnel's state, and how long nothing was heard of its process, if that is long.
func state(t *client.Gateway, now time.Time) string {
	if now.Sub(t.SeenAt) < refreshed {
		return t.Status
	}
	return t.Status + ", seen " + show.Relative(t.SeenAt, now)
}
