package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner"
)

// text is a JSON string of n bytes, all of one letter.
func text(letter string, n int) string { return `"` + strings.Repeat(letter, n-2) + `"` }

const threeMiB = 3 << 20

// whole gives a run document, whole.
func (b *bench) whole(id string) *event.Run {
	b.t.Helper()
	doc, err := b.bus.Run(b.t.Context(), id)
	if err != nil {
		b.t.Fatalf("read run %s: %v", id, err)
	}
	return doc.Run
}

// left waits until the bucket holds one object for each of these, and nothing else.
func (b *bench) left(bucket string, of ...string) {
	b.t.Helper()
	slices.Sort(of)
	bustest.Eventually(b.t, "in "+bucket+" are only objects of "+strings.Join(of, ", "), func() bool {
		names, err := b.bus.Objects(bucket).Names(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		for i, name := range names {
			names[i] = name[:strings.LastIndexByte(name, '.')]
		}
		slices.Sort(names)
		return slices.Equal(names, of)
	})
}

const largeFile = `
listener: {port: 8090, public_url: "http://callbacks.example", path: /done, identify_by: "${body.ref}"}
components:
  outside: {type: http-client, base_url: OUTSIDE, path: /work, body: {callback: "${listener.url}", ref: "${context.run_id}"}}
  quick: {type: http-client, base_url: OUTSIDE, path: /work, body: "${input.a}"}
workflows:
  work:
    jobs:
      - {id: fetch, component: quick, input: {a: 1}}
      - {id: ask, component: outside, input: "${jobs.fetch.output.n}"}
    output: {fetched: "${jobs.fetch.output.data}", called: "${jobs.ask.output}", given: "${input.given}"}
  parent:
    jobs:
      - {id: child, type: workflow, workflow: child, input: {given: "${input.given}"}}
  child:
    jobs:
      - {id: ask, type: wait}
    output: {given: "${input.given}", called: "${jobs.ask.output}"}
`

// onBoth runs a test on one server and on three, with what NATS takes by default.
func onBoth(t *testing.T, f func(t *testing.T, b *bench)) {
	t.Helper()
	layout := bus.Layout{AckWait: 2 * time.Second}
	t.Run("R1", func(t *testing.T) { f(t, beginOn(t, bustest.Start(t).Provisioned(layout), largeFile, runner.Config{})) })
	t.Run("R3", func(t *testing.T) {
		f(t, beginOn(t, bustest.Cluster(t, 3).Provisioned(layout), largeFile, runner.Config{}))
	})
}

// Input, response and callback are each larger than NATS takes in one message.
func TestEverythingIsLarge(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		t.Helper()
		response, given, called := text("r", threeMiB), text("g", threeMiB), text("c", threeMiB)
		b.say(func(c call) (int, string) {
			if strings.HasSuffix(c.key, ".fetch") {
				return http.StatusOK, `{"n":1,"data":` + response + `}`
			}
			return http.StatusAccepted, `"accepted"`
		})
		answers := make(chan *bus.Note, 1)
		stop, err := b.bus.Subscribe(t.Context(), "answers.here", "", func(_ context.Context, n *bus.Note) { answers <- n })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		completed := make(chan *bus.Note, 1)
		stopEvents, err := b.bus.Subscribe(t.Context(), subject.RunEvent("r", event.RunCompleted), "", func(_ context.Context, n *bus.Note) { completed <- n })
		if err != nil {
			t.Fatal(err)
		}
		defer stopEvents()
		input := json.RawMessage(`{"given":` + given + `}`)
		if _, err := b.bus.PublishRunRequest(t.Context(), &event.RunRequest{RunID: "r", Workflow: "work", Input: input, ReplyTo: "answers.here"}); err != nil {
			t.Fatal(err)
		}
		stub := b.status("r", event.StatusWaiting)
		if stub.Object == nil || stub.Input != nil || stub.Jobs["ask"].Attempts[0].Wait.ID != "r.ask" {
			t.Errorf("the bucket holds %+v", stub)
		}
		b.left(subject.BucketPayloads) // the input's has gone with the request
		b.callback("r.ask", event.Succeeded, called)
		b.status("r", event.StatusCompleted)
		want := `{"called":` + called + `,"fetched":` + response + `,"given":` + given + `}`
		if run := b.whole("r"); string(run.Output) != want || string(run.Input) != string(input) || run.Object != nil {
			t.Errorf("output of %d bytes, input of %d, object %v", len(run.Output), len(run.Input), run.Object)
		}
		// The one who asked, and those who watch, are told in messages that fit.
		n := <-answers
		answer, err := bus.DecodeRun("r", n.Data)
		if err == nil {
			answer, err = b.bus.Whole(t.Context(), answer)
		}
		if err != nil || string(answer.Output) != want {
			t.Errorf("answer: %v", err)
		}
		var notice event.Notice
		if n := <-completed; json.Unmarshal(n.Data, &notice) != nil || !notice.Cut || notice.Output != nil {
			t.Errorf("notice: %.200s", n.Data)
		}
		b.left(subject.BucketDocuments, "r")
		b.left(subject.BucketPayloads, "callback")
	})
}

func TestALargeRunOfAnotherWorkflow(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bench) {
		t.Helper()
		given, called := text("g", 1200<<10), text("c", 1200<<10)
		b.ask("parent", "p", `{"given":`+given+`}`)
		parent := b.await("p", "waiting for its child", func(r *event.Run) bool {
			return r.Jobs["child"] != nil && r.Jobs["child"].Status == event.StatusWaiting
		})
		child := parent.Jobs["child"].Attempts[0].SubRun
		b.status(child, event.StatusWaiting)
		b.callback(child+".ask", event.Succeeded, called)
		b.status("p", event.StatusCompleted)
		if want := `{"called":` + called + `,"given":` + given + `}`; string(b.whole("p").Output) != want {
			t.Errorf("output of %d bytes, want %d", len(b.whole("p").Output), len(want))
		}
		b.left(subject.BucketDocuments, child, "p")
	})
}

func TestALargeCallbackBeforeItsWait(t *testing.T) {
	b := begin(t, largeFile)
	called := text("c", threeMiB)
	b.say(func(c call) (int, string) {
		if strings.HasSuffix(c.key, ".ask") {
			b.callback("r.ask", event.Succeeded, called)
		}
		return http.StatusOK, `{"n":1,"data":2}`
	})
	b.ask("work", "r", `{}`)
	b.status("r", event.StatusCompleted)
	if want := `{"called":` + called + `,"fetched":2,"given":null}`; string(b.whole("r").Output) != want {
		t.Errorf("output of %d bytes, want %d", len(b.whole("r").Output), len(want))
	}
}

func TestALargeRunIsCancelled(t *testing.T) {
	b := begin(t, largeFile)
	b.say(func(call) (int, string) { return http.StatusOK, `{"n":1,"data":2}` })
	b.ask("work", "r", `{"given":`+text("g", threeMiB)+`}`)
	b.status("r", event.StatusWaiting)
	for range 2 { // the second time, nothing is to be done
		data, err := b.bus.Request(t.Context(), subject.RunCancel("r"), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Run json.RawMessage }
		if err := json.Unmarshal(data, &answer); err != nil {
			t.Fatal(err)
		}
		run, err := bus.DecodeRun("r", answer.Run)
		if err == nil {
			run, err = b.bus.Whole(t.Context(), run)
		}
		if err != nil || run.Status != event.StatusCancelled || len(run.Input) < threeMiB {
			t.Errorf("answer: %+v, %v", run, err)
		}
	}
	b.left(subject.BucketDocuments, "r")
}

func TestARunThatGrowsTooLarge(t *testing.T) {
	server := bustest.Start(t)
	server.Provisioned(bus.Layout{AckWait: 2 * time.Second})
	b := beginOn(t, bustest.Connect(t, bus.Options{URL: server.URL(), MaxObject: 3 << 20}), listenerAndService+`
workflow:
  id: grow
  jobs:
    - {id: one, component: quick, input: {a: 1}}
    - {id: two, component: quick, input: {a: "${jobs.one.output}"}}
    - {id: three, component: quick, input: {a: "${jobs.one.output}", b: "${jobs.two.output}"}}
`, runner.Config{})
	big := `{"big":` + text("x", 800<<10) + `}`
	b.say(func(call) (int, string) { return http.StatusOK, big })
	b.ask("grow", "g", `{}`)
	run := b.status("g", event.StatusFailed)
	if run.Error == nil || run.Error.Code != "too_large" || !strings.Contains(run.Error.Message, "max_object") {
		t.Errorf("error: %+v", run.Error)
	}
	b.left(subject.BucketDocuments)
}

// impatient gives up at once what is not there.
func impatient(t *testing.T) *bench {
	t.Helper()
	server := bustest.Start(t)
	server.Provisioned(bus.Layout{AckWait: 2 * time.Second})
	b := bustest.Connect(t, bus.Options{URL: server.URL(), PublishTimeout: time.Second})
	return beginOn(t, b, largeFile, runner.Config{MaxDeliveries: 2})
}

func TestAResultThatIsNotThere(t *testing.T) {
	b := impatient(t)
	b.say(func(call) (int, string) { return http.StatusOK, `{"n":1,"data":2}` })
	refer := func(id string) {
		t.Helper()
		header := bus.Header{subject.HeaderObject: "nowhere"}
		if _, err := b.bus.Publish(t.Context(), &bus.Message{Subject: subject.Callback(id), Header: header}); err != nil {
			t.Fatal(err)
		}
	}
	b.ask("work", "late", `{}`)
	b.status("late", event.StatusWaiting)
	refer("late.ask")
	b.say(func(c call) (int, string) {
		if c.key == "early.ask" {
			refer("early.ask")
		}
		return http.StatusOK, `{"n":1,"data":2}`
	})
	b.ask("work", "early", `{}`)
	for _, id := range []string{"late", "early"} {
		run := b.status(id, event.StatusFailed)
		if run.Error == nil || run.Error.Code != "callback_failed" || !strings.Contains(run.Error.Message, "nowhere") {
			t.Errorf("%s: %+v", id, run.Error)
		}
	}
}

func TestAnInputThatIsNotThere(t *testing.T) {
	b := impatient(t)
	_, err := b.bus.Publish(t.Context(), &bus.Message{
		Subject: subject.RunRequest("work"), Header: bus.Header{subject.HeaderObject: "nowhere", subject.HeaderRunID: "r"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if run := b.status("r", event.StatusRejected); !strings.Contains(run.Error.Message, "nowhere") {
		t.Errorf("%+v", run.Error)
	}
}

// A request that comes again after its run has begun finds no input, and needs none.
func TestALargeRequestComesAgain(t *testing.T) {
	b := impatient(t)
	b.say(func(call) (int, string) { return http.StatusOK, `{"n":1,"data":2}` })
	b.ask("work", "r", `{"given":`+text("g", threeMiB)+`}`)
	b.status("r", event.StatusWaiting)
	b.left(subject.BucketPayloads)
	_, err := b.bus.Publish(t.Context(), &bus.Message{
		Subject: subject.RunRequest("work"), Header: bus.Header{subject.HeaderObject: "request.gone", subject.HeaderRunID: "r"},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.callback("r.ask", event.Succeeded, `{}`)
	b.status("r", event.StatusCompleted)
	bustest.Eventually(t, "all requests are taken", func() bool {
		first, last, err := b.bus.Span(t.Context(), subject.StreamRuns)
		return err == nil && first > last
	})
	if _, err := b.bus.Last(t.Context(), subject.StreamDead, subject.Dead("request", "work")); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("it was given up: %v", err)
	}
}

// What cannot be run is set aside, however large it is, and the runner goes on.
func TestALargeRequestIsRejected(t *testing.T) {
	b := begin(t, largeFile)
	input := `{"given":` + text("g", threeMiB) + `}`
	b.ask("unheard-of", "r", input)
	b.status("r", event.StatusRejected)
	if run := b.whole("r"); string(run.Input) != input {
		t.Errorf("input of %d bytes", len(run.Input))
	}
	// What other clients send whole is as large as NATS takes, and larger in base64.
	whole := `{"given":` + text("g", 1000<<10) + `}`
	if _, err := b.bus.Publish(t.Context(), &bus.Message{Subject: subject.RunRequest("unheard-of"), Data: []byte(whole), Header: bus.Header{subject.HeaderRunID: "s"}}); err != nil {
		t.Fatal(err)
	}
	b.status("s", event.StatusRejected)
	dead := b.dead("request", "unheard-of")
	if dead.Object == nil {
		t.Fatalf("%.300s, %d bytes", dead.Reason, len(dead.Payload))
	}
	if data, err := b.bus.Payload(t.Context(), dead.Object); err != nil || string(data) != whole {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// TestADeadLetterKeepsWhatItsMessageReferredTo: the message's object goes long before the letter.
func TestADeadLetterKeepsWhatItsMessageReferredTo(t *testing.T) {
	b := begin(t, largeFile)
	objects := b.bus.Objects(subject.BucketPayloads)
	result := `"` + text("r", threeMiB) + `"`
	ref, err := objects.Put(t.Context(), "callback.theirs", []byte(result), 0)
	if err != nil {
		t.Fatal(err)
	}
	for id, name := range map[string]string{"kept": ref.Name, "lost": "nowhere"} {
		h := bus.Header{subject.HeaderOutcome: "nonsense", subject.HeaderObject: name}
		if _, err := b.bus.Publish(t.Context(), &bus.Message{Subject: subject.Callback(id), Header: h}); err != nil {
			t.Fatal(err)
		}
	}
	dead := b.dead("callback", "kept")
	if err := objects.Delete(t.Context(), ref.Name); err != nil {
		t.Fatal(err)
	}
	if dead.Object == nil || len(dead.Headers[subject.HeaderObject]) > 0 || len(dead.Headers[subject.HeaderOutcome]) == 0 {
		t.Fatalf("%+v", dead)
	}
	if data, err := b.bus.Payload(t.Context(), dead.Object); err != nil || string(data) != result {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if dead := b.dead("callback", "lost"); dead.Object != nil || len(dead.Headers[subject.HeaderObject]) == 0 {
		t.Errorf("of what is not to be had: %+v", dead)
	}
}

// A message of a component's own has to fit: that is said at once, not after all attempts.
func TestALargeMessageOfAComponent(t *testing.T) {
	b := begin(t, `
components:
  tell: {type: nats, subject: somebody, body: "${input.given}"}
workflow:
  id: tell
  jobs: [{id: tell, component: tell, retry: {max_attempts: 5, delay: 1h}}]
`)
	b.ask("tell", "r", `{"given":`+text("g", threeMiB)+`}`)
	run := b.status("r", event.StatusFailed)
	if run.Error == nil || run.Error.Code != "too_large" || len(run.Jobs["tell"].Attempts) != 1 {
		t.Errorf("%+v", run.Error)
	}
}

// The server that leads the documents is stopped while large runs go through.
func TestLargeRunsWhileALeaderGoes(t *testing.T) {
	nodes := bustest.Cluster(t, 3)
	nodes.Provisioned(bus.Layout{AckWait: 2 * time.Second})
	b := beginOn(t, bustest.Connect(t, bus.Options{URL: nodes.URL()}), largeFile, runner.Config{})
	b.say(func(call) (int, string) { return http.StatusOK, `{"n":1,"data":2}` })
	given, called := text("g", 1200<<10), text("c", 1200<<10)
	var ids []string
	for i := range 4 {
		id := fmt.Sprintf("r%d", i)
		bustest.Eventually(t, "the request is taken", func() bool {
			input := json.RawMessage(`{"given":` + given + `}`)
			_, err := b.bus.PublishRunRequest(t.Context(), &event.RunRequest{RunID: id, MsgID: id, Workflow: "work", Input: input})
			return err == nil
		})
		if ids = append(ids, id); i == 0 {
			leader := nodes.Leader(subject.ObjectStream(subject.BucketDocuments))
			if leader < 0 {
				t.Fatal("the bucket documents has no leader")
			}
			nodes.Servers[leader].Stop()
		}
	}
	for _, id := range ids {
		b.status(id, event.StatusWaiting)
		bustest.Eventually(t, "the callback is taken", func() bool {
			_, err := b.bus.PublishCallback(t.Context(), &event.Callback{ID: id + ".ask", Result: json.RawMessage(called), DeliveryID: id})
			return err == nil
		})
	}
	for _, id := range ids {
		b.status(id, event.StatusCompleted)
		if want := `{"called":` + called + `,"fetched":2,"given":` + given + `}`; string(b.whole(id).Output) != want {
			t.Errorf("run %s: output of %d bytes, want %d", id, len(b.whole(id).Output), len(want))
		}
	}
}

// TestALargeRequestIsRejectedAgain: its runner died when the rejection was saved, before anybody was told of it.
func TestALargeRequestIsRejectedAgain(t *testing.T) {
	on := connect(t, bustest.Start(t))
	saved, err := json.Marshal(event.Run{ID: "r", Workflow: "child", Status: event.StatusRejected, Request: 1, Parent: "parent.child"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := on.Bucket(subject.BucketRuns).Create(t.Context(), "r", saved, 0); err != nil {
		t.Fatal(err)
	}
	input := json.RawMessage(`{"given":` + text("g", threeMiB) + `}`)
	ack, err := on.PublishRunRequest(t.Context(), &event.RunRequest{RunID: "r", Workflow: "child", Input: input, Parent: "parent.child"})
	if err != nil || ack.Seq != 1 {
		t.Fatalf("%+v, %v", ack, err)
	}
	b := beginOn(t, on, largeFile, runner.Config{})
	b.left(subject.BucketPayloads)
	m, err := on.Last(t.Context(), subject.StreamWaits, subject.Callback("parent.child"))
	if err != nil || m.Header[subject.HeaderOutcome] != string(event.Failed) {
		t.Errorf("the parent was told %+v, %v", m, err)
	}
}
