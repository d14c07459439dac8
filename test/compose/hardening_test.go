package compose_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// confined holds what the engine really runs to what docs/deploy.md says: no root, no capabilities, a read-only file system,
// limits, and nothing published but the proxy, on the loopback.
func (s *stack) confined(t *testing.T) {
	t.Helper()
	ids := strings.Fields(s.docker("ps", "-aq", "--filter", "label=com.docker.compose.project="+s.project))
	var all []struct {
		Name   string
		Config struct {
			User   string
			Labels map[string]string
		}
		HostConfig struct {
			ReadonlyRootfs, Privileged bool
			CapDrop, SecurityOpt       []string
			Memory                     int64
			PidsLimit                  *int64
			PortBindings               map[string][]struct{ HostIP string }
			Binds                      []string
		}
	}
	if err := json.Unmarshal([]byte(s.docker(append([]string{"inspect"}, ids...)...)), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 7 {
		t.Errorf("%d containers, want NATS, a listener, a runner, a gateway, a proxy, and the two that prepare", len(all))
	}
	for _, c := range all {
		service, h := c.Config.Labels["com.docker.compose.service"], c.HostConfig
		// The one that gives NATS its volume is root, and has no network.
		if root := c.Config.User == "" || strings.HasPrefix(c.Config.User, "0"); root != (service == "nats-volume") {
			t.Errorf("%s runs as user %q", c.Name, c.Config.User)
		}
		if !h.ReadonlyRootfs || h.Privileged || !slices.Contains(h.CapDrop, "ALL") || !slices.Contains(h.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may do more than it needs: %+v", c.Name, h)
		}
		if h.Memory == 0 || h.PidsLimit == nil || *h.PidsLimit == 0 {
			t.Errorf("%s has no limits: memory %d, processes %v", c.Name, h.Memory, h.PidsLimit)
		}
		for port, at := range h.PortBindings {
			for _, b := range at {
				if service != "proxy" || b.HostIP != "127.0.0.1" {
					t.Errorf("%s publishes %s on %q", c.Name, port, b.HostIP)
				}
			}
		}
		for _, b := range h.Binds {
			if strings.Contains(b, "docker.sock") {
				t.Errorf("%s holds the engine's socket", c.Name)
			}
		}
	}
}
