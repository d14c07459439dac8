package e2e_test

import (
	"errors"
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
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(is + "joobs: {}\n")
	for _, p := range []*system.Process{listener, runner} {
		if says := hangUp(t, p); !strings.Contains(says, "was not taken over") {
			t.Errorf("of a file with a mistake it says %s", says)
		}
	}
	write(is)
	for _, p := range []*system.Process{listener, runner} {
		// A NATS that is too busy to store the definition is a reason to send the signal again.
		system.Eventually(t, "the file is taken over", func() error {
			if says := hangUp(t, p); !strings.Contains(says, "was read again") {
				return errors.New(says)
			}
			return nil
		})
	}
	c.Ask("work", "after", `{"n":2}`)
	if run := c.Await("after", "waiting"); run.Jobs["order"].Status != "waiting" {
		t.Errorf("a run that begins after the change: %+v", run.Jobs)
	}
	for id, job := range map[string]string{"before": "ask", "after": "order"} {
		// What is answered 503 was not stored, and is sent again.
		system.Eventually(t, "the callback of "+id+" is taken", func() error {
			status, body, err := system.Post(t.Context(), fmt.Sprintf("http://127.0.0.1:%d/finished", port), done(id+"."+job, 1))
			if err == nil && status != http.StatusOK && status != http.StatusServiceUnavailable {
				t.Fatalf("callback: %d %s", status, body)
			}
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%d %s", status, body)
			}
			return err
		})
		c.Await(id, "completed")
	}
}

// hangUp sends SIGHUP and waits for what the service says of its file.
func hangUp(t *testing.T, p *system.Process) string {
	t.Helper()
	said := func() (lines []string) {
		for line := range strings.Lines(p.Stderr()) {
			if strings.Contains(line, "the compose file was") && strings.HasSuffix(line, "\n") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	before := len(said())
	p.HangUp()
	var says string
	system.Eventually(t, "it says what became of the file", func() error {
		lines := said()
		if len(lines) == before {
			return errors.New("it says nothing of it")
		}
		says = lines[before]
		return nil
	})
	return says
}
