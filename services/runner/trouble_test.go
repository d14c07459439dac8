package runner_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// TestAPoisonedRunIsPutAside has a run whose document nobody can read: it goes to the dead with the reason, and the others go on.
func TestAPoisonedRunIsPutAside(t *testing.T) {
	b := begin(t, asynchronous)
	if _, err := b.bus.Bucket(subject.BucketRuns).Put(t.Context(), "bad", []byte(`{"id":"bad","jobs":`), 0); err != nil {
		t.Fatal(err)
	}
	b.ask("work", "other", `{}`)
	if _, err := b.bus.PublishRunRequest(t.Context(), &event.RunRequest{RunID: "bad", Workflow: "work"}); err != nil {
		t.Fatal(err)
	}
	b.status("other", event.StatusWaiting)
	if dead := b.dead("request", "work"); !strings.Contains(dead.Reason, "the document of run bad cannot be read") || dead.Subject != "run.request.work" {
		t.Errorf("%+v", dead)
	}
	b.callback("other.ask", event.Succeeded, `{}`)
	b.status("other", event.StatusCompleted)
	if m, err := b.bus.Next(t.Context(), subject.StreamRuns, subject.AllRunRequests, 0); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a request is left: %+v, %v", m, err)
	}
}

// TestWhatIsNoTimeoutIsPutAside: other clients may publish there, too.
func TestWhatIsNoTimeoutIsPutAside(t *testing.T) {
	b := begin(t, asynchronous)
	for id, c := range map[string]struct{ payload, reason string }{
		"garbage": {"soon", "the payload is not a wait: invalid character"},
		"nobody":  {`{"id":"nobody"}`, "the payload is not a wait: it names no run"},
	} {
		if _, err := b.bus.Publish(t.Context(), &bus.Message{Subject: subject.Timeout(id), Data: []byte(c.payload)}); err != nil {
			t.Fatal(err)
		}
		if dead := b.dead("timeout", id); !strings.HasPrefix(dead.Reason, c.reason) {
			t.Errorf("%s: %s", id, dead.Reason)
		}
	}
}

// TestLongIDsAreTurnedDown: NATS closes the connection of whoever sends too long a subject, and all runs would stop with it.
func TestLongIDsAreTurnedDown(t *testing.T) {
	b := &bench{t: t, bus: connect(t, bustest.Start(t)), config: runner.Config{MaxDeliveries: 2}}
	b.stop = b.start(`
workflows:
  wait: {job: {id: ask, type: wait, wait_for: "${input.id}"}}
  self: {job: {id: s, type: workflow, workflow: other}}
  other: {job: {id: s, type: workflow, workflow: self}}
`)
	long := strings.Repeat("x", 3500)
	b.ask("wait", "patient", `{"id":"patient"}`)
	b.ask("wait", "long", `{"id":"`+long+`"}`)
	b.ask("self", "deep", `{}`)
	for _, id := range []string{"long", "deep"} {
		if run := b.status(id, event.StatusFailed); run.Error == nil || !strings.Contains(run.Error.Message, "bytes") {
			t.Errorf("%s: %+v", id, run.Error)
		}
	}
	for _, r := range []*event.RunRequest{
		{RunID: long, Workflow: "wait"}, {RunID: long, Workflow: "wait", Retry: true}, {RunID: "orphan", Parent: long, Workflow: "wait"},
	} {
		if _, err := b.bus.PublishRunRequest(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	bustest.Eventually(t, "all are turned down", func() bool {
		rejected := 0
		for e, err := range b.bus.Bucket(subject.BucketRuns).All(t.Context(), ">") {
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(e.Value), "a run's id has 512 bytes at most") {
				rejected++
			}
		}
		return rejected == 3
	})
	// A callback for such an id, from a client that we did not write, is put aside: nobody can wait for it.
	if _, err := b.bus.PublishCallback(t.Context(), &event.Callback{ID: long[:3060]}); err != nil {
		t.Fatal(err)
	}
	b.dead("callback", "long")
	b.callback("patient", event.Succeeded, `{}`)
	b.status("patient", event.StatusCompleted)
}

// TestARunOfANewerVersionIsLeftToItsRunner: while runners are replaced one by one, an old one meets what a new one has written.
func TestARunOfANewerVersionIsLeftToItsRunner(t *testing.T) {
	b := begin(t, asynchronous)
	b.ask("work", "r", `{}`)
	b.ask("work", "other", `{}`)
	b.status("other", event.StatusWaiting)
	run := b.status("r", event.StatusWaiting)
	old, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	run.Version = engine.Version + 1
	data, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := b.bus.Bucket(subject.BucketRuns).Put(t.Context(), "r", data, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.callback("r.ask", event.Succeeded, `{}`)
	b.callback("other.ask", event.Succeeded, `{}`)
	b.status("other", event.StatusCompleted)
	// It is as it was, and its callback comes again to whoever can read it.
	if _, err := b.bus.Bucket(subject.BucketRuns).Update(t.Context(), "r", old, rev, 0); err != nil {
		t.Errorf("it was changed: %v", err)
	}
	b.status("r", event.StatusCompleted)
}

// TestTheLeaderDiesWhileRunsGo stops the leader of each stream in turn while runs begin, sleep and are woken.
func TestTheLeaderDiesWhileRunsGo(t *testing.T) {
	nodes := bustest.Cluster(t, 3)
	nodes.Provisioned(bus.Layout{Replicas: 3, AckWait: 2 * time.Second})
	b := beginOn(t, bustest.Connect(t, bus.Options{URL: nodes.URL()}), asynchronous, runner.Config{})
	b.start(asynchronous)
	var ids []string
	begin := func(part string, n int) {
		t.Helper()
		for i := range n {
			id := fmt.Sprintf("%s-%d", part, i)
			ids = append(ids, id)
			bustest.Eventually(t, "a request is taken", func() bool {
				_, err := b.bus.PublishRunRequest(t.Context(), &event.RunRequest{RunID: id, MsgID: id, Workflow: "work"})
				return err == nil
			})
		}
	}
	wake := func(id string) {
		t.Helper()
		bustest.Eventually(t, "a callback is taken", func() bool {
			_, err := b.bus.PublishCallback(t.Context(), &event.Callback{ID: id + ".ask", Result: json.RawMessage(`{"ok":true}`), DeliveryID: id})
			return err == nil
		})
	}
	const each = 15
	for _, stream := range []string{subject.StreamWaits, subject.StreamRuns, "KV_runs"} {
		from := len(ids)
		begin("before-"+stream, each)
		leader := nodes.Servers[nodes.Leader(stream)]
		leader.Stop()
		for _, id := range ids[from:] {
			wake(id)
		}
		begin("while-"+stream, each)
		leader.Start()
		nodes.AwaitReady()
		for _, id := range ids[from+each:] {
			wake(id)
		}
	}
	for _, id := range ids {
		run := b.status(id, event.StatusCompleted)
		if a := run.Jobs["ask"].Attempts; len(a) != 1 || a[0].Wait.ResumedBy == nil {
			t.Errorf("%s: %+v", id, a)
		}
	}
}
