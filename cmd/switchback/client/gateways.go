package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// Gateways lists how the tunnels are, by port.
func (c *Client) Gateways(ctx context.Context) ([]event.GatewayStatus, error) {
	all := []event.GatewayStatus{}
	for e, err := range c.bus.Bucket(subject.BucketGateways).All(ctx, "") {
		if err != nil {
			return nil, fmt.Errorf("list the gateways: %w", err)
		}
		var s event.GatewayStatus
		if err := json.Unmarshal(e.Value, &s); err != nil {
			return nil, unreadable(e, err)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b event.GatewayStatus) int { return cmp.Compare(a.Port, b.Port) })
	return all, nil
}
