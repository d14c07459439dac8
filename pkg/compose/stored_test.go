package compose

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStoredIsNotJudged: of every golden file that is a document, however much is wrong in it, something is read.
func TestStoredIsNotJudged(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, want, _ := strings.Cut(string(data), wantLine)
		input, _, _ = strings.Cut(input, fileLine)
		doc, err := Stored([]byte(input), unset)
		var invalid *Invalid
		switch {
		case err == nil:
			read++
			if doc == nil || doc.Hash == "" {
				t.Errorf("%s: %+v", file, doc)
			}
		case !errors.As(err, &invalid) || !strings.HasPrefix(filepath.Base(file), "yaml-") || !strings.Contains(want, "first.yaml:"):
			t.Errorf("%s: %v", file, err)
		}
	}
	if read < len(files)/2 {
		t.Errorf("%d of %d were read", read, len(files))
	}
}

// TestStoredContains what cannot be carried out: it keeps to the job, the action or the workflow that it stands in.
func TestStoredContains(t *testing.T) {
	const file = `
listener: {port: 8090, colour: red, path: /done}
gateway: {type: pigeon}
secrets: [x]
components:
  sound: {endpoint: "http://x/y"}
  newer: {endpoint: "http://x/y", cache: 5m}
  kind: {type: grpc-client, base_url: "http://x"}
  some:
    base_url: http://x
    actions:
      good: {path: /a}
      bad: {path: /b, completion: {type: callback, patience: 3}}
  under: {base_url: "http://x", headers: {A: "${vault.a}"}, actions: {one: {path: /a}, two: {path: /b, headers: {B: c}}}}
workflows:
  main:
    jobs:
      - {id: sound, component: sound, input: "${input.x}"}
      - {id: newer, component: newer}
      - {id: kind, component: kind}
      - {id: good, component: some, action: good}
      - {id: bad, component: some, action: bad}
      - {id: typed, type: human}
      - {id: retried, component: sound, retry: {max_attempts: soon}}
      - {id: expression, component: sound, when: "${input.a +}", input: {a: "${shout(input.a)}", b: "${jobs.sound.output}"}}
      - {id: self, component: sound, input: "${jobs.self.output}"}
      - {id: lost, component: nowhere}
      - {id: router, type: random-router, routings: []}
      - {id: falls, component: sound, on_error: [{id: fallen, component: sound, colour: red}]}
  odd: {priority: high, jobs: [{id: a, component: sound}, {id: b, component: sound}]}
  circle: {jobs: [{id: a, component: sound, depends_on: b}, {id: b, component: sound, depends_on: a}]}
  alone: {component: sound, colour: red}
`
	doc, err := Stored([]byte(file), unset)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, w := range doc.Workflows {
		got[w.ID] = w.Broken
		for _, j := range w.Jobs {
			got[w.ID+"/"+j.ID] = j.Broken
			if c := doc.Components[j.Component]; c != nil && c.Actions[j.Action].Broken != "" {
				got[w.ID+"/"+j.ID] += "action " + c.Actions[j.Action].Broken
			}
		}
	}
	for id, why := range got {
		if why == "" {
			delete(got, id)
		}
	}
	want := map[string]string{
		"main/newer":    `action components.newer.cache: a component of type http-client has no field "cache"`,
		"main/kind":     `workflows.main.jobs[2].component: there is no component "kind"`,
		"main/bad":      `action components.some.actions.bad.completion.patience: a completion has no field "patience"`,
		"main/typed":    `workflows.main.jobs[5].type: type "human" is not known`,
		"main/retried":  `workflows.main.jobs[6].retry.max_attempts: max_attempts must be a whole number, and is "soon"`,
		"main/self":     `workflows.main.jobs[8].input: the job self waits for itself: it mentions itself`,
		"main/lost":     `workflows.main.jobs[9].component: there is no component "nowhere"`,
		"main/router":   "workflows.main.jobs[10].routings: a random-router without routings leads nowhere",
		"main/fallen":   `workflows.main.jobs[11].on_error[0].colour: a job has no field "colour"`,
		"odd":           `workflows.odd.priority: a workflow has no field "priority"`,
		"circle/a":      "workflows.circle.jobs[0]: the job a waits for itself: a → b → a",
		"circle":        "the job a waits for itself: a → b → a",
		"alone/__job__": `workflows.alone.colour: a workflow has no field "colour"`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}

	job := doc.Workflow("main").Job("expression")
	if _, err := job.When.Eval(nil); err == nil {
		t.Error("a condition that cannot be read holds, or does not")
	}
	if _, err := job.Input.Eval(nil); err == nil || !strings.Contains(err.Error(), "shout") {
		t.Errorf("an input that cannot be read: %v", err)
	}
	if len(job.Needs) != 1 || job.Needs[0][0] != "sound" {
		t.Errorf("it needs %v", job.Needs)
	}
	if _, err := doc.Components["under"].Actions["two"].Headers.Eval(nil); err == nil || !strings.Contains(err.Error(), "vault") {
		t.Errorf("headers that cannot be read: %v", err)
	}
	var all []string
	for _, p := range doc.Unread {
		all = append(all, p.Path+": "+p.Message)
	}
	unread := strings.Join(all, "\n")
	for _, part := range []string{"secrets: a compose file has no section", "vault", "shout", "workflows.main.jobs[7].when"} {
		if !strings.Contains(unread, part) {
			t.Errorf("%q is not among what is unread:\n%s", part, unread)
		}
	}
	for _, part := range []string{"pigeon", "listener"} {
		if strings.Contains(unread, part) {
			t.Errorf("%q is no matter of a run:\n%s", part, unread)
		}
	}
}

// TestStoredHasNoBounds: what was within those of another version is read.
func TestStoredHasNoBounds(t *testing.T) {
	deep := strings.Repeat("{a: ", 80) + "x" + strings.Repeat("}", 80)
	many := make([]string, maxEntries+1)
	for i := range many {
		many[i] = "c" + strconv.Itoa(i)
	}
	for name, file := range map[string]string{
		"deep":  "workflow: {job: {id: a, component: logger, input: " + deep + "}}",
		"large": "workflow: {job: {id: a, component: logger, input: " + strings.Repeat("x", maxFileSize) + "}}",
		"parts": "components: {" + strings.Join(many, ": {type: logger}, ") + ": {type: logger}}\nworkflow: {job: {id: a, component: c1}}",
		"id":    "workflow: {job: {id: " + strings.Repeat("i", 200) + ", component: logger}}",
	} {
		if _, err := Parse([]byte(file), unset); err == nil {
			t.Errorf("%s: it is within the bounds", name)
		}
		doc, err := Stored([]byte(file), unset)
		if err != nil || len(doc.Unread) > 0 || doc.Workflows[0].Jobs[0].Broken != "" {
			t.Errorf("%s: %v, %+v", name, err, doc)
		}
	}
}
