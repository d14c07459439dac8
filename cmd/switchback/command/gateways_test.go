package command

import (
	"testing"
	"time"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/pkg/event"
)

// TestAGatewayOfAProcessThatDied is still listed until its lease ends, but says so.
func TestAGatewayOfAProcessThatDied(t *testing.T) {
	now := time.Now()
	for ago, want := range map[time.Duration]string{
		-time.Second: "up", 0: "up", 5 * time.Second: "up", 9 * time.Second: "up, seen 9s ago", 14 * time.Second: "up, seen 14s ago",
	} {
		g := &client.Gateway{GatewayStatus: event.GatewayStatus{Status: "up"}, SeenAt: now.Add(-ago)}
		if got := state(g, now); got != want {
			t.Errorf("after %s: %q, want %q", ago, got, want)
		}
	}
}
