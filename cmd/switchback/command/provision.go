package command

import (
	"context"
	"fmt"
	"time"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/pkg/bus"
)

type provisionCommand struct {
	Replicas int `default:"1" placeholder:"N" help:"On how many servers of the NATS cluster each stream lies: 1, 3 or 5 (${default})."`
	system
	format
}

// provisionTimeout bounds the making of the streams.
const provisionTimeout = 30 * time.Second

// Run makes the streams that are missing.
func (p *provisionCommand) Run(ctx context.Context, s *streams) error {
	ctx, cancel := context.WithTimeout(ctx, provisionTimeout)
	defer cancel()
	return p.with(ctx, func(c *client.Client) error {
		if err := c.Provision(ctx, bus.Layout{Replicas: p.Replicas}); err != nil {
			return err
		}
		return p.print(s, map[string]bool{"provisioned": true}, func() error {
			fmt.Fprintln(s.out, "The streams and buckets are there.")
			return nil
		})
	})
}
