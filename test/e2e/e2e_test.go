// Package e2e_test holds Switchback to its guarantees: real processes, killed at the worst moments.
package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/switchbackhq/switchback/test/system"
)

func TestMain(m *testing.M) { system.Main(m) }

// file is a compose file with one asynchronous job, called back on a port.
func file(t *testing.T, port int, outside string, extra string) string {
	t.Helper()
	return system.Write(t, "switchback.yaml", fmt.Sprintf(`
listener:
  host: 127.0.0.1
  port: %d
  path: /done
  identify_by: ${body.ref}
  status: ${body.state}
  success_when: [ok]
  fail_when: [bad]
  result: ${body.result}

components:
  outside:
    type: http-client
    base_url: %s
    path: /work
    body:
      callback: ${listener.url}
      ref: ${context.run_id}
      n: ${input.n}
%s
workflow:
  id: work
  jobs:
    - id: ask
      component: outside
`, port, outside, extra))
}

func done(ref string, n int) string {
	return fmt.Sprintf(`{"ref":%q,"state":"ok","result":{"n":%d}}`, ref, n)
}

func callbackURL(port int) string { return fmt.Sprintf("http://127.0.0.1:%d/done", port) }

// redelivery is how soon a dead runner's messages go to another one.
const redelivery = "SWITCHBACK_STREAMS_REDELIVERY=2s"

// one asserts that a run was resumed by exactly one callback and asked the outside service once.
func one(t *testing.T, run *system.Run, n int) {
	t.Helper()
	job := run.Jobs["ask"]
	if len(job.Attempts) != 1 || job.Attempts[0].Wait == nil || job.Attempts[0].Wait.ResumedBy == nil {
		t.Errorf("run %s: attempts %+v", run.ID, job.Attempts)
	}
	if want := fmt.Sprintf(`{"accepted":true,"n":%d,"task":"%s.ask"}`, n, run.ID); string(run.Output) != want {
		t.Errorf("run %s: output %s, want %s", run.ID, run.Output, want)
	}
}

func TestACallbackBeforeItsWait(t *testing.T) {
	nats, outside, port := system.StartNATS(t), system.StartOutside(t), system.FreePort(t)
	conf := file(t, port, outside.URL, "")
	// The outside service calls back before it answers: the wait cannot have been made yet.
	outside.Hold = func(c system.Call) {
		status, body, err := system.Post(context.Background(), callbackURL(port), done(c.Key, 1))
		if err != nil || status != http.StatusOK {
			t.Errorf("callback: %d %s %v", status, body, err)
		}
	}
	nats.Service("listener", conf, redelivery).Ready()
	nats.Service("runner", conf).Ready()
	c := system.Connect(t, nats.URL())
	c.Ask("work", "early", `{"n":1}`)
	one(t, c.Await("early", "completed"), 1)
	if n := len(outside.Calls()); n != 1 {
		t.Errorf("the outside service was asked %d times", n)
	}
}

func TestACallbackTwiceAtTwoListenersAtOnce(t *testing.T) {
	nats, outside := system.StartNATS(t), system.StartOutside(t)
	ports := []int{system.FreePort(t), system.FreePort(t)}
	for _, port := range ports {
		nats.Service("listener", file(t, port, outside.URL, ""), redelivery).Ready()
	}
	conf := file(t, ports[0], outside.URL, "")
	for range 2 {
		nats.Service("runner", conf).Ready()
	}
	c := system.Connect(t, nats.URL())
	const runs = 50
	for i := range runs {
		c.Ask("work", fmt.Sprintf("twice-%d", i), fmt.Sprintf(`{"n":%d}`, i))
	}
	for i := range runs {
		c.Await(fmt.Sprintf("twice-%d", i), "waiting")
	}
	for i := range runs {
		var both errgroup.Group
		for _, port := range ports {
			both.Go(func() error {
				status, body, err := system.Post(t.Context(), callbackURL(port), done(fmt.Sprintf("twice-%d.ask", i), i))
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("%d %s", status, body)
				}
				return err
			})
		}
		if err := both.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range runs {
		one(t, c.Await(fmt.Sprintf("twice-%d", i), "completed"), i)
	}
	if n := len(outside.Calls()); n != runs {
		t.Errorf("the outside service was asked %d times for %d runs", n, runs)
	}
}

func TestACallbackForNobodyIsClaimedLater(t *testing.T) {
	nats, outside, port := system.StartNATS(t), system.StartOutside(t), system.FreePort(t)
	conf := file(t, port, outside.URL, "")
	nats.Service("listener", conf, redelivery).Ready()
	called := make(chan struct{})
	outside.Hold = func(c system.Call) {
		// The callback is answered 200, the runner has seen that nobody waits, and two seconds later the wait is made.
		status, body, err := system.Post(context.Background(), callbackURL(port), done(c.Key, 3))
		if err != nil || status != http.StatusOK {
			t.Errorf("callback: %d %s %v", status, body, err)
		}
		<-time.After(2 * time.Second)
		close(called)
	}
	runner := nats.Service("runner", conf).Ready()
	c := system.Connect(t, nats.URL())
	c.Ask("work", "later", `{"n":3}`)
	<-called
	one(t, c.Await("later", "completed"), 3)
	if code := runner.Stop(); code != 0 {
		t.Errorf("the runner ends with %d", code)
	}
}

func TestAThousandSuspendedRunsSurviveKill9(t *testing.T) {
	outside, port := system.StartOutside(t), system.FreePort(t)
	conf, dir, natsPort := file(t, port, outside.URL, ""), t.TempDir(), system.FreePort(t)
	up := system.Up(t, dir, conf, natsPort, redelivery).Ready()
	c := system.Connect(t, fmt.Sprintf("nats://127.0.0.1:%d", natsPort))
	const runs = 1000
	id := func(i int) string { return fmt.Sprintf("kill-%d", i) }
	for i := range runs {
		c.Ask("work", id(i), fmt.Sprintf(`{"n":%d}`, i))
	}
	system.Eventually(t, "all runs wait", func() error {
		n, err := c.Waits(t.Context())
		if err == nil && n != runs {
			err = fmt.Errorf("%d of %d", n, runs)
		}
		return err
	})
	up.Kill()
	system.Up(t, dir, conf, natsPort, redelivery).Ready()
	var group errgroup.Group
	group.SetLimit(32)
	for i := range runs {
		group.Go(func() error {
			status, body, err := system.Post(t.Context(), callbackURL(port), done(id(i)+".ask", i))
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%d %s", status, body)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range runs {
		one(t, c.Await(id(i), "completed"), i)
	}
	if n := len(outside.Calls()); n != runs {
		t.Errorf("the outside service was asked %d times for %d runs", n, runs)
	}
	system.Eventually(t, "no wait is left", func() error {
		n, err := c.Waits(t.Context())
		if err == nil && n != 0 {
			err = fmt.Errorf("%d are", n)
		}
		return err
	})
}

func TestARunnerKilledBetweenCallAndSave(t *testing.T) {
	nats, outside, port := system.StartNATS(t), system.StartOutside(t), system.FreePort(t)
	conf := file(t, port, outside.URL, "")
	nats.Service("listener", conf, redelivery).Ready()
	var first sync.Once
	asked, release := make(chan struct{}), make(chan struct{})
	outside.Hold = func(system.Call) {
		wait := false
		first.Do(func() { wait = true })
		if wait {
			close(asked)
			<-release
		}
	}
	runner := nats.Service("runner", conf, redelivery).Ready()
	c := system.Connect(t, nats.URL())
	c.Ask("work", "killed", `{"n":5}`)
	<-asked // the outside service has the request, the runner has no answer
	runner.Kill()
	close(release)
	nats.Service("runner", conf, redelivery).Ready()
	c.Await("killed", "waiting")
	calls := outside.Calls()
	if len(calls) != 2 || calls[0].Key != "killed.ask" || calls[1].Key != calls[0].Key {
		t.Errorf("the outside service was asked: %+v", calls)
	}
	if status, body, err := system.Post(t.Context(), callbackURL(port), done("killed.ask", 5)); err != nil || status != http.StatusOK {
		t.Fatalf("callback: %d %s %v", status, body, err)
	}
	one(t, c.Await("killed", "completed"), 5)
	if n := len(outside.Calls()); n != 2 {
		t.Errorf("the outside service was asked %d times", n)
	}
}

func TestADeadlineThatPassesWhileEverythingIsDown(t *testing.T) {
	outside, port := system.StartOutside(t), system.FreePort(t)
	conf, dir, natsPort := file(t, port, outside.URL, "    timeout: 1500\n"), t.TempDir(), system.FreePort(t)
	up := system.Up(t, dir, conf, natsPort).Ready()
	c := system.Connect(t, fmt.Sprintf("nats://127.0.0.1:%d", natsPort))
	c.Ask("work", "overdue", `{"n":1}`)
	c.Await("overdue", "waiting")
	up.Kill()
	<-time.After(2 * time.Second) // the deadline is what is waited for
	system.Up(t, dir, conf, natsPort).Ready()
	run := c.Await("overdue", "failed")
	if run.Error == nil || run.Error.Code != "timeout" || run.Error.Job != "ask" {
		t.Errorf("error: %+v", run.Error)
	}
}

func TestNATSAwayForTenSeconds(t *testing.T) {
	nats, outside, port := system.StartNATS(t), system.StartOutside(t), system.FreePort(t)
	conf := file(t, port, outside.URL, "")
	listener := nats.Service("listener", conf, redelivery).Ready()
	nats.Service("runner", conf, redelivery).Ready()
	c := system.Connect(t, nats.URL())
	const runs = 30
	id := func(i int) string { return fmt.Sprintf("away-%d", i) }
	for i := range runs {
		c.Ask("work", id(i), fmt.Sprintf(`{"n":%d}`, i))
	}
	for i := range runs {
		c.Await(id(i), "waiting")
	}
	nats.Kill()
	back := time.After(10 * time.Second)
	system.Eventually(t, "the listener says that it is not ready", func() error {
		if system.ReadyAt(t.Context(), listener.Admin()) == nil {
			return errors.New("it is ready")
		}
		return nil
	})
	// Callbacks go on coming, as a provider sends them: again until they are answered 200.
	acknowledged := make([]bool, runs)
	refused := 0
	for away := true; away; {
		select {
		case <-back:
			away = false
		default:
			i := refused % runs
			status, body, err := system.Post(t.Context(), callbackURL(port), done(id(i)+".ask", i))
			if err != nil {
				t.Fatal(err)
			}
			if status != http.StatusServiceUnavailable || !strings.Contains(body, `"status":503`) {
				t.Fatalf("NATS is away, and a callback is answered %d %s", status, body)
			}
			refused++
			<-time.After(100 * time.Millisecond) // a provider's pause
		}
	}
	if refused == 0 {
		t.Fatal("no callback was tried")
	}
	nats.Start()
	for i := range runs {
		system.Eventually(t, "the callback is taken", func() error {
			status, body, err := system.Post(t.Context(), callbackURL(port), done(id(i)+".ask", i))
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%d %s", status, body)
			}
			acknowledged[i] = err == nil
			return err
		})
	}
	listener.Ready()
	for i := range runs {
		if acknowledged[i] {
			one(t, c.Await(id(i), "completed"), i)
		}
	}
	c.Ask("work", "after", `{"n":99}`)
	c.Await("after", "waiting")
}

func TestWithNothingButNATS(t *testing.T) {
	nats, outside, port := system.StartNATS(t), system.StartOutside(t), system.FreePort(t)
	nats.Service("runner", file(t, port, outside.URL, "")).Ready()
	c := system.Connect(t, nats.URL())
	replies, err := c.NC.SubscribeSync("replies")
	if err != nil {
		t.Fatal(err)
	}
	// As `nats pub run.request.work '{"n":4}'` does: no header, no acknowledgement asked for.
	if err := c.NC.Publish("run.request.work", []byte(`{"n":4}`)); err != nil {
		t.Fatal(err)
	}
	system.Eventually(t, "the outside service is asked", func() error {
		if len(outside.Calls()) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	ref := outside.Calls()[0].Key
	if err := c.NC.Publish("callback."+ref, []byte(`{"n":4}`)); err != nil {
		t.Fatal(err)
	}
	one(t, c.Await(strings.TrimSuffix(ref, ".ask"), "completed"), 4)

	t.Run("bad requests are kept with their reason", func(t *testing.T) {
		for id, request := range map[string][2]string{
			"bad-1": {"nowhere", `{}`}, "bad-2": {"work", `[1]`}, "bad-3": {"work", `{`},
		} {
			c.Ask(request[0], id, request[1])
			if run := c.Await(id, "rejected"); run.Error == nil || run.Error.Message == "" {
				t.Errorf("%s: %+v", id, run.Error)
			}
		}
		s, err := c.JS.Stream(t.Context(), "DEAD")
		if err != nil {
			t.Fatal(err)
		}
		if info, err := s.Info(t.Context()); err != nil || info.State.Msgs != 3 {
			t.Errorf("the stream of the dead: %+v, %v", info, err)
		}
	})
	_ = replies
}

func TestRollingRestartUnderLoad(t *testing.T) {
	nats, outside, port := system.StartNATS(t), system.StartOutside(t), system.FreePort(t)
	conf := file(t, port, outside.URL, "")
	nats.Service("listener", conf, redelivery).Ready()
	runners := []*system.Process{nats.Service("runner", conf, redelivery).Ready(), nats.Service("runner", conf, redelivery).Ready()}
	c := system.Connect(t, nats.URL())
	const runs = 600
	id := func(i int) string { return fmt.Sprintf("rolling-%d", i) }
	var group errgroup.Group
	group.SetLimit(8)
	for i := range runs {
		if i%200 == 100 {
			// One dies, one stops as it should; two others take over.
			runners[0].Kill()
			next := nats.Service("runner", conf, redelivery)
			if code := runners[1].Stop(); code != 0 {
				t.Errorf("a runner that was asked to stop ends with %d", code)
			}
			runners = []*system.Process{next.Ready(), nats.Service("runner", conf, redelivery).Ready()}
		}
		group.Go(func() error {
			if err := c.TryAsk("work", id(i), fmt.Sprintf(`{"n":%d}`, i)); err != nil {
				return err
			}
			status, body, err := system.Post(t.Context(), callbackURL(port), done(id(i)+".ask", i))
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%d %s", status, body)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range runs {
		one(t, c.Await(id(i), "completed"), i)
	}
	keys := map[string]int{}
	for _, call := range outside.Calls() {
		keys[call.Key]++
	}
	if len(keys) != runs {
		t.Errorf("the outside service was asked for %d invocations, %d runs", len(keys), runs)
	}
}
