package runner_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
	"github.com/switchbackhq/switchback/pkg/subject"
)

const waiters = `
workflows:
  - {id: named, job: {id: j, type: wait, wait_for: "${input.id}", timeout: 1h}}
  - {id: patient, job: {id: j, type: wait, wait_for: "${input.id}", accept_early: any, timeout: 1h}}
  - {id: short, job: {id: j, type: wait, wait_for: "${input.id}", timeout: 1ms}}
  - {id: own, job: {id: j, type: wait, timeout: 1h}}
  - {id: both, job: {id: j, type: wait, wait_for: "${input.id}", quorum: 2, timeout: 1h}}
`

// fates plays callbacks and notes what they are told to be.
type fates struct {
	*bench
	want map[string]int
	sent []fate.Callback
	told []fate.Told
}

// send stores a callback, and waits until a runner has counted it as it should.
func (f *fates) send(id string, o event.Outcome, counted fate.Fate, told fate.Told) {
	f.t.Helper()
	ack, err := f.bus.PublishCallback(f.t.Context(), &event.Callback{ID: id, Outcome: o, Result: json.RawMessage("{}")})
	if err != nil {
		f.t.Fatal(err)
	}
	f.sent = append(f.sent, fate.Callback{ID: id, Seq: ack.Seq, Outcome: o, At: time.Now()})
	f.told = append(f.told, told)
	f.counts(counted, 1)
}

func (f *fates) counts(counted fate.Fate, more int) {
	f.t.Helper()
	f.want[string(counted)] += more
	for deadline := time.Now().Add(patience); ; {
		got := f.counted()
		if got[string(counted)] >= f.want[string(counted)] {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("counted %v, want %v", got, f.want)
		}
		<-time.After(time.Millisecond)
	}
}

// stands waits until a run's wait stands: its document says so before. Of a shared id the timer is made last.
func (f *fates) stands(id, run string) {
	f.t.Helper()
	last := subject.Wait(id)
	if id != run+".j" {
		last = subject.Timer(run + ".j")
	}
	for deadline := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
		_, err := f.bus.Last(f.t.Context(), subject.StreamWaits, last)
		if err == nil {
			return
		}
		if !errors.Is(err, bus.ErrNotFound) || time.Now().After(deadline) {
			f.t.Fatalf("no wait of run %s stands for %s: %v", run, id, err)
		}
	}
}

func (f *fates) counted() map[string]int {
	f.t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	counted := map[string]int{}
	for _, family := range families {
		if family.GetName() != "switchback_runner_callbacks_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			counted[m.GetLabel()[0].GetValue()] = int(m.GetCounter().GetValue())
		}
	}
	return counted
}

// TestFates: each callback is counted once for what it was when it came, and what became of it can be told ever after, though
// nothing is written for it.
func TestFates(t *testing.T) {
	f := &fates{bench: begin(t, waiters), want: map[string]int{}}
	of := func(what fate.Fate, run string) fate.Told {
		if run == "" {
			return fate.Told{Fate: what}
		}
		return fate.Told{Fate: what, Run: run, Job: "j"}
	}
	wait := func(workflow, run, id string) {
		f.ask(workflow, run, fmt.Sprintf(`{"id":%q}`, id))
		f.stands(cmp.Or(id, run+".j"), run)
	}

	wait("named", "r1", "one")
	f.send("one", event.Progress, fate.Matched, of(fate.Matched, "r1"))
	f.send("one", event.Succeeded, fate.Matched, of(fate.Matched, "r1"))
	f.status("r1", event.StatusCompleted)
	f.send("one", event.Succeeded, fate.Duplicate, of(fate.Duplicate, "r1"))
	f.send("one", event.Progress, fate.Duplicate, of(fate.Duplicate, "r1"))

	// Nobody waits for it when it comes; the wait that is made afterwards takes it.
	f.send("two", event.Succeeded, fate.Orphan, of(fate.Early, "r2"))
	f.ask("patient", "r2", `{"id":"two"}`)
	f.status("r2", event.StatusCompleted)
	f.counts(fate.Early, 1)

	f.ask("short", "r3", `{"id":"three"}`)
	f.status("r3", event.StatusFailed)
	f.send("three", event.Succeeded, fate.Late, of(fate.Late, "r3"))

	f.send("four", event.Failed, fate.Orphan, of(fate.Orphan, ""))
	f.send("r9.j", event.Failed, fate.Orphan, of(fate.Orphan, ""))

	// One run after another waits for the same id.
	for _, run := range []string{"r5", "r6", "r7"} {
		wait("named", run, "shared")
		f.send("shared", event.Progress, fate.Matched, of(fate.Matched, run))
		f.send("shared", event.Failed, fate.Matched, of(fate.Matched, run))
		f.status(run, event.StatusFailed)
		f.send("shared", event.Succeeded, fate.Duplicate, of(fate.Duplicate, run))
		f.send("other "+run, event.Succeeded, fate.Orphan, of(fate.Orphan, ""))
	}

	wait("own", "r8", "")
	f.send("r8.j", event.Succeeded, fate.Matched, of(fate.Matched, "r8"))
	f.status("r8", event.StatusCompleted)
	f.send("r8.j", event.Failed, fate.Duplicate, of(fate.Duplicate, "r8"))

	wait("both", "r10", "ten")
	f.send("ten", event.Succeeded, fate.Matched, of(fate.Matched, "r10"))
	f.send("ten", event.Succeeded, fate.Matched, of(fate.Matched, "r10"))
	f.status("r10", event.StatusCompleted)
	f.send("ten", event.Succeeded, fate.Duplicate, of(fate.Duplicate, "r10"))

	wait("own", "r11", "")
	if _, err := f.bus.Request(t.Context(), "run.command.r11.cancel", nil, nil); err != nil {
		t.Fatal(err)
	}
	f.status("r11", event.StatusCancelled)
	f.send("r11.j", event.Succeeded, fate.Late, of(fate.Late, "r11"))

	if d := diff.Diff(f.want, f.counted()); d != "" {
		t.Errorf("counted (-want +got):\n%s", d)
	}
	teller := fate.NewTeller(f.bus)
	for i, cb := range f.sent {
		told, err := teller.Tell(t.Context(), cb)
		if err != nil || told != f.told[i] {
			t.Errorf("callback %d for %s (%s) is %+v, want %+v, %v", cb.Seq, cb.ID, cb.Outcome, told, f.told[i], err)
		}
	}

	// While no runner is there, a wait's callback is on its way.
	wait("own", "r12", "")
	f.stop()
	ack, err := f.bus.PublishCallback(t.Context(), &event.Callback{ID: "r12.j", Outcome: event.Succeeded})
	if err != nil {
		t.Fatal(err)
	}
	told, err := fate.NewTeller(f.bus).Tell(t.Context(), fate.Callback{ID: "r12.j", Seq: ack.Seq, Outcome: event.Succeeded, At: time.Now()})
	if err != nil || told != of(fate.Pending, "r12") {
		t.Errorf("told %+v, %v", told, err)
	}
}

// TestADuplicateReadsNoLargeDocument: what became of it can be told by the stub. The document is taken away, to see that
// it is not read.
func TestADuplicateReadsNoLargeDocument(t *testing.T) {
	f := &fates{bench: begin(t, waiters), want: map[string]int{}}
	f.ask("named", "r", `{"id":"x","more":`+text("m", threeMiB)+`}`)
	f.status("r", event.StatusWaiting)
	f.stands("x", "r")
	f.send("x", event.Succeeded, fate.Matched, fate.Told{})
	stub := f.status("r", event.StatusCompleted)
	if err := f.bus.Objects(stub.Object.Bucket).Delete(t.Context(), stub.Object.Name); err != nil {
		t.Fatal(err)
	}
	f.send("x", event.Succeeded, fate.Duplicate, fate.Told{})
}
