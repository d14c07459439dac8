package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/switchbackhq/switchback/test/system"
)

// TestNoMoreThanTheLimitWhateverDies lets runs queue for two places while runners and the server are killed.
func TestNoMoreThanTheLimitWhateverDies(t *testing.T) {
	nats, outside, port := system.StartNATS(t), system.StartOutside(t), system.FreePort(t)
	source, err := os.ReadFile(file(t, port, outside.URL, ""))
	if err != nil {
		t.Fatal(err)
	}
	conf := system.Write(t, "switchback.yaml", string(source)+"  concurrency: 2\n")
	nats.Service("listener", conf, redelivery).Ready()
	runners := []*system.Process{nats.Service("runner", conf, redelivery).Ready(), nats.Service("runner", conf, redelivery).Ready()}
	c := system.Connect(t, nats.URL())
	const runs, limit = 24, 2
	for i := range runs {
		c.Ask("work", fmt.Sprintf("turn-%d", i), fmt.Sprintf(`{"n":%d}`, i))
	}
	back := map[string]bool{} // who has been called back
	for len(back) < runs {
		var open []system.Call
		system.Eventually(t, "a run goes", func() error {
			open = nil
			seen := map[string]bool{}
			for _, call := range outside.Calls() {
				if !seen[call.Key] && !back[call.Key] {
					open = append(open, call)
				}
				seen[call.Key] = true
			}
			if len(open) == 0 {
				return fmt.Errorf("%d of %d are back", len(back), runs)
			}
			return nil
		})
		if len(open) > limit {
			t.Fatalf("%d go at once: %+v", len(open), open)
		}
		switch len(back) {
		case 4, 12: // the one that is on it may be either
			runners[0].Kill()
			runners = []*system.Process{runners[1], nats.Service("runner", conf, redelivery).Ready()}
		case 8:
			nats.Kill()
			nats.Start()
		case 16: // everything
			for _, r := range runners {
				r.Kill()
			}
			nats.Kill()
			nats.Start()
			runners = []*system.Process{nats.Service("runner", conf, redelivery).Ready(), nats.Service("runner", conf, redelivery).Ready()}
		}
		n, _ := open[0].Body["n"].(float64)
		system.Eventually(t, "the callback is taken", func() error {
			status, body, err := system.Post(t.Context(), callbackURL(port), done(open[0].Key, int(n)))
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%d %s", status, body)
			}
			return err
		})
		back[open[0].Key] = true
	}
	for i := range runs {
		c.Await(fmt.Sprintf("turn-%d", i), "completed")
	}
}
