package runner_test

import (
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// sleeps is a file of today: what runs of it sleep on is exchanged for what another version has stored.
const sleeps = `
components:
  note: {type: logger, message: "${input.message}"}
  other: {type: logger, message: "x"}
workflow:
  id: work
  jobs:
    - {id: hold, type: wait}
    - {id: go, type: switch, input: "${jobs.hold.output.to}", cases: [{value: end, then: end}], otherwise: odd}
    - {id: odd, component: other}
    - {id: end, component: note, input: {message: done}}
`

// asleep begins runs, stops the runner that has begun them, and leaves another version's definition for them.
func (b *bench) asleep(definition string, ids ...string) {
	b.t.Helper()
	hash := ""
	for _, id := range ids {
		b.ask("work", id, `{}`)
		b.waits(id)
		hash = b.status(id, event.StatusWaiting).Definition
	}
	b.stop()
	b.stored(hash, definition)
}

func (b *bench) stored(hash, definition string) {
	b.t.Helper()
	if _, err := b.bus.Bucket(subject.BucketDefinitions).Put(b.t.Context(), hash, []byte(definition), 0); err != nil {
		b.t.Fatal(err)
	}
}

// today is the file that the runners have which come after.
const today = "component: {type: logger, message: y}\nworkflow: {id: work, job: {id: a}}\n"

// TestARunEndsOnADefinitionThatIsRefusedToday: it was taken when there were fewer checks, and all runners have been brought up to
// date since, while nothing was running.
func TestARunEndsOnADefinitionThatIsRefusedToday(t *testing.T) {
	const old = `
components:
  note: {type: logger, level: warnn, message: "${input.message}"}
  other: {type: http-client, endpoint: //x.example, proxy: "ftp://x", tls: {cert_file: a.pem}}
  never: {base_url: x.example, path: /y, completion: {type: polling, path: /t, status: "${result.s}", fail_when: [failed]}}
workflows:
  work:
    on_success: second
    input: {n: {type: integer, default: abc}, m: {minimum: 5, maximum: 2, type: integer}}
    jobs:
      - {id: hold, type: wait}
      - {id: go, type: switch, input: "${jobs.hold.output.to}", cases: [{value: end, then: end}, {value: end, then: odd}], otherwise: odd}
      - {id: odd, component: other}
      - {id: end, component: note, input: {message: "${error.message | done}", at: "${context.job}"}, output: {said: "${input.none | nothing}", why: "${error.code}"}}
  second: {component: note, on_failure: third, input: {message: x}}
  third: {component: note, on_success: second, input: {message: x}}
`
	if _, err := compose.Parse([]byte(old), nil); err == nil || strings.Count(err.Error(), "line ") < 12 {
		t.Fatalf("of this definition most is refused today: %v", err)
	}
	b := begin(t, sleeps)
	b.asleep(old, "r", "lost", "again")
	b.callback("r.hold", event.Succeeded, `{"to":"end"}`)
	b.start(today)
	run := b.status("r", event.StatusCompleted)
	if string(run.Output) != `{"said":"nothing","why":null}` || string(run.Jobs["end"].Input) != `{"at":null,"message":"done"}` {
		t.Errorf("output %s, input %s", run.Output, run.Jobs["end"].Input)
	}
	b.status("r.on-success", event.StatusCompleted) // it begins anew on the same definition

	// What was wrong in it shows where it did before: in the run that comes there.
	b.callback("lost.hold", event.Succeeded, `{"to":"odd"}`)
	if run := b.status("lost", event.StatusFailed); run.Error.Job != "odd" || run.Error.Code == "given_up" {
		t.Errorf("%+v", run.Error)
	}
	b.retry("lost", "work")
	b.await("lost", "tried again", func(r *event.Run) bool { return len(r.Jobs["odd"].Attempts) == 2 && r.Status == event.StatusFailed })
	b.callback("again.hold", event.Failed, `{}`)
	b.status("again", event.StatusFailed)
}

// TestOnlyWhoComesToWhatCannotBeRead fails, and is told what and where it is.
func TestOnlyWhoComesToWhatCannotBeReadFails(t *testing.T) {
	b := begin(t, sleeps)
	old := strings.NewReplacer(`{type: logger, message: "x"}`, `{type: logger, message: "x", cache: 5m}`, `id: hold, type: wait`, `id: hold, type: wait, timeout: soon`).Replace(sleeps)
	old = strings.Replace(old, "- {id: end,", `- {id: more, depends_on: end, component: note, input: {message: "${shout(jobs.hold.output.say)}"}, when: "${jobs.hold.output.say != null}"}`+"\n    - {id: end,", 1)
	b.asleep(old, "sound", "part", "expression")
	b.start(today)
	b.callback("sound.hold", event.Succeeded, `{"to":"end"}`)
	b.callback("part.hold", event.Succeeded, `{"to":"odd"}`)
	b.callback("expression.hold", event.Succeeded, `{"to":"end","say":"x"}`)
	if run := b.status("sound", event.StatusCompleted); run.Jobs["more"].Status != event.StatusSkipped {
		t.Errorf("more is %s", run.Jobs["more"].Status)
	}
	if run := b.status("part", event.StatusFailed); run.Error.Code != "definition" || run.Error.Job != "odd" ||
		!strings.Contains(run.Error.Message, `components.other.cache: a component of type logger has no field "cache"`) {
		t.Errorf("%+v", run.Error)
	}
	if run := b.status("expression", event.StatusFailed); run.Error.Job != "more" || !strings.Contains(run.Error.Message, "this cannot be read: unknown function shout") {
		t.Errorf("%+v", run.Error)
	}
}

// TestADefinitionOfANewerVersionIsLeftToItsRunners: while runners are replaced one by one, an old one meets a file that a new one
// has taken, with fields that it does not know.
func TestADefinitionOfANewerVersionIsLeftToItsRunners(t *testing.T) {
	b := begin(t, sleeps)
	b.config.MaxDeliveries = 1 // what is given up is given up at once
	newer := "# stored by switchback v99.1.0\n" + strings.Replace(sleeps, "id: hold, type: wait", "id: hold, type: wait, colour: red", 1)
	b.asleep(newer, "r", "known", "cancelled")
	hash := b.status("r", event.StatusWaiting).Definition
	stop := b.start(today)
	b.callback("r.hold", event.Succeeded, `{"to":"end"}`)
	answer, err := b.bus.Request(t.Context(), subject.RunCancel("cancelled"), nil, nil)
	if err != nil || !strings.Contains(string(answer), `"status":"cancelled"`) {
		t.Errorf("cancelled: %s, %v", answer, err)
	}
	b.ask("work", "own", `{}`)
	b.status("own", event.StatusCompleted)
	bustest.Eventually(t, "the callback is handed back", func() bool { return b.total("switchback_runner_left_to_newer_total") > 0 })
	stop()

	// A newer runner is there, to which it is nothing new. What is new in the file and known here, too, is no reason to wait.
	b.stored(hash, "# stored by switchback v99.1.0\n"+strings.Replace(sleeps, "message: done", "message: done by the new one", 1))
	b.start(today)
	if run := b.status("r", event.StatusCompleted); string(run.Jobs["end"].Input) != `{"message":"done by the new one"}` {
		t.Errorf("the old one went on: %s", run.Jobs["end"].Input)
	}
	b.callback("known.hold", event.Succeeded, `{"to":"end"}`)
	b.status("known", event.StatusCompleted)
}

// total is a counter of the runner that was started last.
func (b *bench) total(name string) float64 {
	b.t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// TestADefinitionIsStoredWithItsVersion, as a comment.
func TestADefinitionIsStoredWithItsVersion(t *testing.T) {
	b := begin(t, sleeps)
	b.ask("work", "r", `{}`)
	b.waits("r")
	run := b.status("r", event.StatusWaiting)
	e, err := b.bus.Bucket(subject.BucketDefinitions).Get(t.Context(), run.Definition)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := compose.Parse(e.Value, nil)
	if err != nil || doc.Hash != run.Definition || !strings.HasPrefix(string(e.Value), "# stored by switchback ") {
		t.Errorf("%v: %s", err, e.Value)
	}
}
