package runner_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner"
)

const askThenTell = `
listener: {port: 8090, public_url: "http://callbacks.example", path: /done, identify_by: "${body.ref}"}
components:
  outside: {base_url: OUTSIDE, path: /work, body: {callback: "${listener.url}", ref: "${context.run_id}"}}
  plain: {base_url: OUTSIDE, path: /tell, body: {}}
workflow:
  id: work
  jobs:
    - {id: ask, component: outside}
    - {id: tell, component: plain, depends_on: ask}
`

// Of two callbacks for one wait a runner is given the second while another has the first. So it takes both, and dies in the
// request that follows from the first. When the second comes again, that request is repeated: nothing else would.
func TestWhoBroughtAnEarlierCallbackDies(t *testing.T) {
	b := beginOn(t, connect(t, bustest.Start(t)), askThenTell, runner.Config{ShutdownGrace: time.Nanosecond})
	b.ask("work", "r", `{}`)
	b.status("r", event.StatusWaiting)
	bustest.Eventually(t, "the wait stands", func() bool {
		_, err := b.bus.Bucket(subject.BucketWaits).Get(t.Context(), "r.ask")
		return err == nil
	})
	b.stop()

	// The other runner: it has the first callback, and gets no further.
	has, release := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.bus.Consume(ctx, bus.ConsumeOptions{Stream: subject.StreamWaits, Consumer: subject.ConsumerRunner, MaxInFlight: 1},
			func(_ context.Context, d *bus.Delivery) {
				close(has)
				<-release
				_ = d.Ack()
			})
	}()
	b.callback("r.ask", event.Succeeded, `{"said":"first"}`)
	<-has
	b.callback("r.ask", event.Succeeded, `{"said":"second"}`)

	asked, dead := b.hang("/tell")
	stop := b.start(askThenTell)
	<-asked
	stop()
	close(dead)

	b.start(askThenTell)
	cancel()
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.settled()
	doc, err := b.bus.Run(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	if doc.Run.Status != event.StatusCompleted {
		t.Fatalf("nothing is left to be delivered, and the run is %s: %+v", doc.Run.Status, doc.Run.Jobs["tell"])
	}
	if got := string(doc.Run.Jobs["ask"].Output); got != `{"said":"first","task":"r.ask"}` {
		t.Errorf("the wait was ended by %s, want the first callback", got)
	}
}

// A callback makes a job begin anew, and the runner dies in that round's request: when the callback comes again, nobody waits
// for it any more, and yet there is that to be repeated.
func TestWhoWentBackDies(t *testing.T) {
	const file = `
listener: {port: 8090, public_url: "http://callbacks.example", path: /done, identify_by: "${body.ref}"}
component: {id: outside, base_url: OUTSIDE, path: /work, body: {callback: "${listener.url}", ref: "${context.run_id}"}}
workflow:
  id: work
  jobs:
    - {id: ask, component: outside}
    - {id: enough, type: if, depends_on: ask, condition: "${jobs.ask.output.enough}", if_false: ask}
`
	b := beginOn(t, connect(t, bustest.Start(t)), file, runner.Config{ShutdownGrace: time.Nanosecond})
	b.ask("work", "r", `{}`)
	b.status("r", event.StatusWaiting)
	bustest.Eventually(t, "the wait stands", func() bool {
		_, err := b.bus.Bucket(subject.BucketWaits).Get(t.Context(), "r.ask")
		return err == nil
	})
	asked, dead := b.hang("/work")
	b.callback("r.ask", event.Succeeded, `{"enough":false}`)
	<-asked
	b.stop()
	close(dead)
	b.start(file)
	b.settled()
	doc, err := b.bus.Run(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	if doc.Run.Status != event.StatusWaiting {
		t.Fatalf("nothing is left to be delivered, and the run is %s", doc.Run.Status)
	}
	b.callback("r.ask.2", event.Succeeded, `{"enough":true}`)
	b.status("r", event.StatusCompleted)
}

// hang lets the next request to a path go unanswered until dead is closed.
func (b *bench) hang(path string) (asked, dead chan struct{}) {
	asked, dead = make(chan struct{}, 1), make(chan struct{})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = func(c call) (int, string) {
		if c.path == path {
			select {
			case asked <- struct{}{}:
				<-dead
			default:
			}
		}
		return http.StatusOK, `{}`
	}
	return asked, dead
}

// settled waits until nothing is left to be delivered to the runners.
func (b *bench) settled() {
	b.t.Helper()
	bustest.Eventually(b.t, "all is taken", func() bool {
		for _, stream := range []string{subject.StreamRuns, subject.StreamWaits} {
			behind, err := b.bus.Backlog(b.t.Context(), stream, subject.ConsumerRunner)
			if err != nil || behind.Pending > 0 || behind.Unacknowledged > 0 {
				return false
			}
		}
		return true
	})
}
