package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/test/system"
)

// TestServicesReadTheirFileAgain sends SIGHUP to a listener and a runner while a run sleeps.
func TestServicesReadTheirFileAgain(t *testing.T) {
	nats, outside, port := system.StartNATS(t), system.StartOutside(t), system.FreePort(t)
	conf := file(t, port, outside.URL, "")
	listener, runner := nats.Service("listener", conf, redelivery).Ready(), nats.Service("runner", conf, redelivery).Ready()
	c := system.Connect(t, nats.URL())
	c.Ask("work", "before", `{"n":1}`)
	c.Await("before", "waiting")

	was, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	is := strings.NewReplacer("path: /done", "path: /finished", "id: ask", "id: order").Replace(string(was))
	for _, text := range []string{is + "joobs: {}\n", is} {
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		says := "the compose file was read again"
		if text != is {
			says = "the compose file was not taken over"
		}
		for _, p := range []*system.Process{listener, runner} {
			p.HangUp()
			system.Eventually(t, says, func() error {
				if !strings.Contains(p.Stderr(), says) {
					return fmt.Errorf("it says %s", p.Stderr())
				}
				return nil
			})
		}
	}
	c.Ask("work", "after", `{"n":2}`)
	if run := c.Await("after", "waiting"); run.Jobs["order"].Status != "waiting" {
		t.Errorf("a run that begins after the change: %+v", run.Jobs)
	}
	for id, job := range map[string]string{"before": "ask", "after": "order"} {
		status, body, err := system.Post(t.Context(), fmt.Sprintf("http://127.0.0.1:%d/finished", port), done(id+"."+job, 1))
		if err != nil || status != http.StatusOK {
			t.Fatalf("callback: %d %s %v", status, body, err)
		}
		c.Await(id, "completed")
	}
}
