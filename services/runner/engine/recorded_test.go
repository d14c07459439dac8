package engine_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

var record = flag.String("record", "", "record the histories of a version, such as v0.1.0, or of what is to be the next one: next")

// recording is a run as a version of the engine has carried it on: its documents, as they were stored, and the steps from
// one to the next.
type recording struct {
	Workflow  string            `json:"workflow"`
	Documents []json.RawMessage `json:"documents"`
	Steps     []recordedStep    `json:"steps"`
}

type recordedStep struct {
	Before   int             `json:"before"` // of the documents; -1: there was none
	Type     string          `json:"type"`   // of the event
	Event    json.RawMessage `json:"event"`
	After    int             `json:"after"`
	Commands []string        `json:"commands,omitempty"`
}

// recordedEvents are the events that a recording has, by their type. Should an event's form change, what is recorded is
// converted here: it is never recorded anew.
var recordedEvents = map[string]func([]byte) (engine.Event, error){
	"Requested": decodeEvent[engine.Requested], "Redelivered": decodeEvent[engine.Redelivered], "Acted": decodeEvent[engine.Acted],
	"CalledBack": decodeEvent[engine.CalledBack], "Expired": decodeEvent[engine.Expired], "Cancelled": decodeEvent[engine.Cancelled],
	"Retried": decodeEvent[engine.Retried], "Granted": decodeEvent[engine.Granted], "NotYet": decodeEvent[engine.NotYet],
}

func decodeEvent[E engine.Event](data []byte) (engine.Event, error) {
	var ev E
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // what is read as nothing would be tested as nothing
	err := d.Decode(&ev)
	return ev, err
}

// next is what is recorded of the engine as it is: the only recording that may be made anew.
const next = "next"

// TestRecorded replays the runs that earlier versions have recorded: from each document as it was stored, each event leads
// to what it led to then. A run that was begun by an older version goes on as it would have there. See CONTRIBUTING.md for
// what to do when it fails.
func TestRecorded(t *testing.T) {
	if *record != "" {
		writeRecordings(t, *record)
	}
	files, err := filepath.Glob("testdata/recorded/*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing is recorded: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimPrefix(file, "testdata/recorded/"), func(t *testing.T) {
			replay(t, readWorld(t, filepath.Join(filepath.Dir(file), "switchback.yaml")), readRecording(t, file))
		})
	}
}

func replay(t *testing.T, w engine.World, r recording) {
	t.Helper()
	for i, step := range r.Steps {
		ev, err := recordedEvents[step.Type](step.Event)
		if err != nil {
			t.Fatalf("step %d, %s: %v", i, step.Type, err)
		}
		var run *event.Run
		if step.Before >= 0 {
			run = new(event.Run)
			if err := json.Unmarshal(r.Documents[step.Before], run); err != nil {
				t.Fatalf("step %d: document %d: %v", i, step.Before, err)
			}
		}
		now, commands, err := engine.Advance(w, run, ev)
		if err != nil {
			t.Errorf("step %d, %s: %v", i, step.Type, err)
			continue
		}
		if d := cmp.Diff(plain(t, r.Documents[step.After]), onlyKnown(plain(t, encode(t, now)), plain(t, r.Documents[step.After]))); d != "" {
			t.Errorf("step %d, %s, from document %d: the document differs (-then +now):\n%s", i, step.Type, step.Before, d)
		}
		if d := cmp.Diff(step.Commands, allOf(t, commands)); d != "" {
			t.Errorf("step %d, %s, from document %d: the commands differ (-then +now):\n%s", i, step.Type, step.Before, d)
		}
	}
}

// onlyKnown gives the fields of a document that another has, too: a later version may add some. The form's own version
// may be another.
func onlyKnown(now, then any) any {
	switch then := then.(type) {
	case map[string]any:
		n, ok := now.(map[string]any)
		if !ok {
			return now
		}
		out := map[string]any{}
		for k, v := range then {
			if k == "version" {
				out[k] = v
			} else if is, ok := n[k]; ok {
				out[k] = onlyKnown(is, v)
			}
		}
		return out
	case []any:
		n, ok := now.([]any)
		if !ok || len(n) != len(then) {
			return now
		}
		out := make([]any, len(n))
		for i := range n {
			out[i] = onlyKnown(n[i], then[i])
		}
		return out
	default:
		return now
	}
}

// allOf writes all commands down, notices by their names.
func allOf(t *testing.T, commands []engine.Command) []string {
	t.Helper()
	var out []string
	for _, c := range commands {
		switch c := c.(type) {
		case engine.Notify:
			out = append(out, "notify "+c.Notice.Event+" "+c.Notice.Job)
		case engine.StartRun:
			out = append(out, fmt.Sprintf("start %s of %s for %q with %s", c.ID, c.Workflow, c.Parent, c.Input))
		case engine.CancelRun:
			out = append(out, "cancel "+c.ID)
		default:
			text := brief([]engine.Command{c})
			if len(text) != 1 {
				t.Fatalf("no words for %T", c)
			}
			out = append(out, text[0])
		}
	}
	return out
}

func readWorld(t *testing.T, file string) engine.World {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := compose.Stored(data, func(string) (string, bool) { return "", false }) // as runs that have begun are carried on
	if err != nil || len(doc.Unread) > 0 {
		t.Fatalf("%s: %v, %+v", file, err, doc)
	}
	return engine.World{Document: doc}
}

func readRecording(t *testing.T, file string) (r recording) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return r
}

func plain(t *testing.T, data []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// withoutNulls leaves out of an event what it does not have: read back, a null would be a value.
func withoutNulls(t *testing.T, ev []byte) []byte {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(ev, &fields); err != nil {
		t.Fatal(err)
	}
	for name, v := range fields {
		switch {
		case string(v) == "null":
			delete(fields, name)
		case v[0] == '{' && slices.Contains([]string{"Request", "Callback", "Wait", "Err", "Turn"}, name): // structs of the engine's
			fields[name] = withoutNulls(t, v)
		}
	}
	return encode(t, fields)
}

// writeRecordings records a run of each workflow in the file, and of each once more cancelled on the way.
func writeRecordings(t *testing.T, version string) {
	t.Helper()
	dir := filepath.Join("testdata", "recorded", version)
	if version == next {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatalf("what is recorded stays as it is: %v", err)
	}
	source, err := os.ReadFile("testdata/recorded/switchback.yaml")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "switchback.yaml"), source, 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "form.txt"), []byte(todaysForm().String()), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	w := readWorld(t, filepath.Join(dir, "switchback.yaml"))
	for _, workflow := range w.Document.Workflows {
		for name, cancelAt := range map[string]int{workflow.ID: -1, workflow.ID + "-cancelled": 2} {
			r := &recorder{t: t, w: w, cancelAt: cancelAt, now: t0, recording: recording{Workflow: workflow.ID}}
			r.run(workflow.ID)
			if r.cancelAt >= 0 {
				continue // it had ended before
			}
			if err := os.WriteFile(filepath.Join(dir, name+".json"), append(encode(t, r.recording), '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// recorder carries a run on as the runner does, with an outside service that is quick and kind: what is flaky fails at its
// first attempt, what is broken always, and nobody calls back for what is named so.
type recorder struct {
	recording

	t        *testing.T
	w        engine.World
	cancelAt int // after so many events; -1: never
	now      time.Time
	seq      uint64
	doc      []byte
	events   []engine.Event
}

func (r *recorder) run(workflow string) {
	req := engine.Requested{
		Request:    event.RunRequest{RunID: "r", Workflow: workflow, Input: json.RawMessage(`{"n":7}`), Seq: 1, RequestedAt: r.now},
		Definition: "d", Trigger: "request:1", At: r.now,
	}
	r.seq = 1
	r.events = []engine.Event{req}
	for n := 0; len(r.events) > 0; n++ {
		if n == r.cancelAt {
			r.events = []engine.Event{engine.Cancelled{Reason: "enough", At: r.now}, engine.Retried{Trigger: "request:9", At: r.now.Add(time.Second)}}
			r.cancelAt = -1
		}
		ev := r.events[0]
		r.events = r.events[1:]
		for _, c := range r.step(ev) {
			r.perform(c)
		}
		// And what the message sets off once more, should its runner die now.
		if trigger := triggerOf(ev); trigger != "" {
			r.step(engine.Redelivered{Trigger: trigger, At: r.now})
		}
	}
	if run := r.load(); !run.Status.Ended() {
		r.t.Errorf("the recorded run of %s does not end: %s", workflow, r.doc)
	}
}

func (r *recorder) load() *event.Run {
	if r.doc == nil {
		return nil
	}
	run := new(event.Run)
	if err := json.Unmarshal(r.doc, run); err != nil {
		r.t.Fatal(err)
	}
	return run
}

// step advances the stored run by an event and records it.
func (r *recorder) step(ev engine.Event) []engine.Command {
	before := r.load()
	run, commands, err := engine.Advance(r.w, before, ev)
	if err != nil {
		r.t.Fatalf("%T: %v", ev, err)
	}
	step := recordedStep{Before: r.index(), Type: reflect.TypeOf(ev).Name(), Event: withoutNulls(r.t, encode(r.t, ev)), Commands: allOf(r.t, commands)}
	r.doc = encode(r.t, run)
	step.After = r.index()
	r.Steps = append(r.Steps, step)
	wanted := commands[:0:0]
	for _, c := range commands {
		if engine.Wanted(run, c) {
			wanted = append(wanted, c)
		}
	}
	return wanted
}

// index is the place of the stored document among those recorded.
func (r *recorder) index() int {
	if r.doc == nil {
		return -1
	}
	for i, d := range r.Documents {
		if bytes.Equal(d, r.doc) {
			return i
		}
	}
	r.Documents = append(r.Documents, slices.Clone(r.doc))
	return len(r.Documents) - 1
}

func (r *recorder) perform(c engine.Command) {
	r.now = r.now.Add(time.Second)
	r.seq++
	switch c := c.(type) {
	case engine.Act:
		r.events = append(r.events, r.acted(c))
	case engine.Park:
		if strings.HasPrefix(c.Wait.ID, "nobody") {
			r.events = append(r.events, engine.Expired{ID: c.Wait.ID, Seq: r.seq, Trigger: fmt.Sprintf("timeout:%d", r.seq), At: c.Wait.Deadline})
			return
		}
		r.callBack(c.Wait.ID, event.Progress, `{"percent":50}`)
		outcome := event.Succeeded
		if strings.HasSuffix(c.Wait.ID, "flaky-slow") {
			outcome = event.Failed
		}
		r.callBack(c.Wait.ID, outcome, `{"called":"`+c.Wait.ID+`"}`)
	case engine.Sleep:
		r.events = append(r.events, engine.Expired{ID: c.Wait.ID, Seq: r.seq, Trigger: fmt.Sprintf("timeout:%d", r.seq), At: c.Wait.Deadline})
	case engine.StartRun:
		if c.Parent != "" {
			r.callBack(c.Parent, event.Succeeded, `{"child":true}`)
		}
	case engine.Acquire:
		if c.Check { // at the second look
			r.events = append(r.events, engine.Granted{Turn: c.Turn, Trigger: fmt.Sprintf("timeout:%d", r.seq), At: r.now})
			return
		}
		r.events = append(r.events, engine.NotYet{Trigger: "request:1", At: r.now})
	}
}

func (r *recorder) callBack(id string, outcome event.Outcome, result string) {
	r.seq++
	cb := event.Callback{ID: id, Outcome: outcome, Result: json.RawMessage(result), Endpoint: "/done", Seq: r.seq, StoredAt: r.now}
	r.events = append(r.events, engine.CalledBack{Callback: cb, Trigger: fmt.Sprintf("callback:%d", r.seq), At: r.now})
}

func (r *recorder) acted(c engine.Act) engine.Acted {
	ev := engine.Acted{
		Job: c.Job.ID, Attempt: c.Attempt, Poll: c.Poll, Trigger: "request:1", At: r.now, Input: json.RawMessage(`{"n":7}`),
		Requests: []event.Request{{Method: "POST", URL: "http://outside.example", Status: 200, At: r.now, DurationMS: 5}},
	}
	response := json.RawMessage(fmt.Sprintf(`{"by":%q,"attempt":%d}`, c.ID, c.Attempt))
	switch kind := c.Action.Completion.Kind; {
	case strings.HasPrefix(c.Job.ID, "broken"), strings.HasPrefix(c.Job.ID, "flaky") && c.Attempt == 1 && kind != compose.CompleteCallback:
		ev.Err = &engine.Error{Code: "http_500", Message: "no", Data: json.RawMessage(`{"why":"tired"}`)}
	case kind == compose.CompleteCallback:
		ev.Response, ev.Wait = response, &engine.Wait{ID: c.ID}
	case kind == compose.CompletePolling && c.Poll == 0:
		ev.Response, ev.Output, ev.Wait = response, response, &engine.Wait{Poll: true}
	case kind == compose.CompletePolling && c.Poll == 1:
		ev.Pending = true
	default:
		ev.Output = response
	}
	return ev
}

// triggerOf names the message that has set an event off.
func triggerOf(ev engine.Event) string {
	switch ev := ev.(type) {
	case engine.Requested:
		return ev.Trigger
	case engine.Acted:
		return ev.Trigger
	case engine.CalledBack:
		return ev.Trigger
	case engine.Expired:
		return ev.Trigger
	case engine.Retried:
		return ev.Trigger
	default:
		return ""
	}
}
