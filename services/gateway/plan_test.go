package gateway

import (
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/compose"
)

const tunnels = `
gateways:
  - {id: near, type: http-tunnel, driver: ngrok, authtoken: t, port: 8090}
  - {id: far, type: http-tunnel, driver: ngrok, authtoken: t, port: 8091, target: elsewhere}
`

func TestLocalhostIsWhereTheContainerFindsIt(t *testing.T) {
	unset := func(string) (string, bool) { return "", false }
	doc, err := compose.Parse([]byte(tunnels), unset)
	if err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{"": "localhost:8090 elsewhere:8091", "proxy": "proxy:8090 elsewhere:8091"} {
		groups, err := planned(doc, unset, Config{Target: setting}, containers{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range groups {
			for _, p := range g.plans {
				got = append(got, p.target)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("with target %q the tunnels lead to %q, want %q", setting, got, want)
		}
	}
}

func TestAFileWithoutGatewayIsAnErrorUnlessItMayIdle(t *testing.T) {
	doc := &compose.Document{}
	if _, err := New(Config{}, Deps{Document: doc}); err == nil {
		t.Error("a file without gateway is taken")
	}
	if _, err := New(Config{Idle: true}, Deps{Document: doc}); err != nil {
		t.Errorf("a gateway that may idle does not start: %v", err)
	}
}
