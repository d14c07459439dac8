package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Gateway is what a process has published of a tunnel. It is published anew all the time; of one that was killed it stays until
// its lease ends.
type Gateway struct {
	event.GatewayStatus

	SeenAt time.Time `json:"seen_at"`
}

// Gateways lists how the tunnels are, by port.
func (c *Client) Gateways(ctx context.Context) ([]Gateway, error) {
	all := []Gateway{}
	for e, err := range c.bus.Bucket(subject.BucketGateways).All(ctx, "") {
		if err != nil {
			return nil, fmt.Errorf("list the gateways: %w", err)
		}
		s := Gateway{SeenAt: e.Time}
		if err := json.Unmarshal(e.Value, &s); err != nil {
			return nil, fault.Wrap(err, fault.Internal, "the status of the gateway on port "+e.Key+" cannot be read", "look at it with `nats kv get gateways "+e.Key+"`")
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Gateway) int { return cmp.Compare(a.Port, b.Port) })
	return all, nil
}
