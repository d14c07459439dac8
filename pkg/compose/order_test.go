package compose

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// needs gives a workflow's order in short: "b: a+c|d <- a" is a job b that needs a, and one of c and d, and whose ${output} is a's.
func needs(w *Workflow) string {
	var lines []string
	for _, j := range w.Jobs {
		groups := make([]string, len(j.Needs))
		for i, g := range j.Needs {
			groups[i] = strings.Join(g, "|")
		}
		line := strings.TrimRight(j.ID+": "+strings.Join(groups, "+"), " ")
		if j.Before != "" {
			line += " <- " + j.Before
		}
		if j.RoutedOnly {
			line += " (routed)"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestOrder(t *testing.T) {
	for _, tc := range []struct{ name, jobs, want string }{
		{"nothing mentioned: side by side", `
- {id: a}
- {id: b}`, "a:\nb:"},
		{"a job that is mentioned", `
- {id: a, input: "${jobs.b.output.x}"}
- {id: b}`, "a: b\nb:"},
		{"mentioned in output, when and on_error", `
- {id: a, output: "${jobs.d.output}", when: "${jobs.c.status == 'completed'}", on_error: {output: {e: "${jobs.b.output}"}}}
- {id: b}
- {id: c}
- {id: d}`, "a: d+c+b\nb:\nc:\nd:"},
		{"mentioned in a default, and in a function", `
- {id: a, input: {x: "${input.x | ${jobs.b.output}}", y: "${len(jobs.c.output)}"}}
- {id: b}
- {id: c}`, "a: b+c\nb:\nc:"},
		{"the output before: in an input, not in an output", `
- {id: a, output: "${output.x}"}
- {id: b, input: {x: "${output}"}}
- {id: c, output: "${output}"}`, "a:\nb: a <- a\nc:"},
		{"the output before and the same job mentioned", `
- {id: a}
- {id: b, depends_on: a, input: "${output.x} ${jobs.a.output.y}"}`, "a:\nb: a <- a"},
		{"groups", `
- {id: a}
- {id: b}
- {id: c}
- {id: d, depends_on: [a, [b, c]]}`, "a:\nb:\nc:\nd: a+b|c"},
		{"a mention does not undo a group", `
- {id: a}
- {id: b}
- {id: c, depends_on: [[a, b]], input: {x: "${jobs.a.output}", y: "${jobs.b.output}"}}`, "a:\nb:\nc: a|b"},
		{"one name", `
- {id: a}
- {id: b, depends_on: a}`, "a:\nb: a"},
		{"routes", `
- {id: a, type: switch, input: "${input.x}", cases: [{value: 1, then: b}], otherwise: c}
- {id: b}
- {id: c, input: "${jobs.a.output}"}
- {id: d, depends_on: [[b, c]]}`, "a:\nb: (routed)\nc: a (routed)\nd: b|c"},
		{"a loop of routes is no circle", `
- {id: a}
- {id: b, type: if, condition: "${jobs.a.output.more}", if_true: a2}
- {id: a2}
- {id: c, type: if, condition: "${jobs.a2.output.more}", if_true: b2}
- {id: b2, type: random-router, routings: [{to: a2}]}`, "a:\nb: a\na2: (routed)\nc: a2\nb2: (routed)"},
		{"what is only gone back to begins by itself", `
- {id: a}
- {id: b, input: "${jobs.a.output}", on_error: {to: a}}
- {id: c, type: if, condition: "${jobs.b.output.more}", if_true: a, if_false: d}
- {id: d}
- {id: e, type: random-router, depends_on: [d], routings: [{to: b}]}`, "a:\nb: a\nc: b\nd: (routed)\ne: d"},
		{"also in a circle of several", `
- {id: a, type: if, condition: "${jobs.b.output.x}", if_true: c, if_false: d}
- {id: b}
- {id: c}
- {id: d, type: switch, input: "${jobs.c.output.x}", cases: [{value: 1, then: b}]}`, "a: b\nb:\nc: (routed)\nd: c (routed)"},
		{"what something else leads to as well does not", `
- {id: enter, type: if, condition: "${input.x}", if_true: a}
- {id: a}
- {id: b, type: if, condition: "${jobs.a.output.more}", if_true: a}
- {id: c, on_error: [{id: x}]}
- {id: d, depends_on: [x], type: random-router, routings: [{to: a}]}`, "enter:\na: (routed)\nb: a\nc:\nd: x\nx: (routed)"},
		{"on_error", `
- id: a
  on_error:
    - {id: x, input: "${jobs.a.error} ${error.message}"}
    - {id: y, input: "${output.z}", on_error: [{id: z, input: "${jobs.b.output} ${jobs.a.error} ${jobs.y.error}"}]}
- {id: b}
- {id: c, input: "${output}"}`, "a:\nb:\nc: b <- b\nx: (routed)\ny: x <- x (routed)\nz: b (routed)"},
		{"items", `
- {id: a}
- {id: b, type: for-each, input: "${input.l}", do: {input: "${output.x} ${item}", output: "${output} ${jobs.c.output}"}}
- {id: c}`, "a:\nb: a+c <- a\nc:"},
		{"names with blanks and the like", `
- {id: a-b_1}
- {id: 한글}
- {id: c, input: "${jobs.a-b_1.output} ${jobs.한글.output} ${jobs[\"a-b_1\"].output}"}`, "a-b_1:\n한글:\nc: a-b_1+한글"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc, err := read(t, "component: {endpoint: http://x}\nworkflow:\n  jobs:"+strings.ReplaceAll(tc.jobs, "\n", "\n    "))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, needs(doc.Workflows[0])); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// waits gives a completion in short.
func waits(c Completion) string {
	s := string(c.Kind)
	if c.Kind != CompleteCallback {
		return s
	}
	if c.Implied {
		s = "implied"
	}
	switch {
	case c.OwnID && c.WaitFor != nil:
		return s + " own id, written"
	case c.OwnID:
		return s + " own id"
	case c.WaitFor != nil:
		return fmt.Sprint(s, " ", c.WaitFor.Source())
	case c.IdentifyBy != nil:
		return fmt.Sprint(s, " by ", c.IdentifyBy.Source())
	default:
		return s + " " + DefaultCallbackID
	}
}

func TestWaiting(t *testing.T) {
	const around = `
listeners:
  - id: first
    port: 8090
    base_path: /in
    callbacks:
      - {path: /tasks/done, identify_by: "${body.task}"}
      - {path: "/jobs/{kind}/end", identify_by: "${body.job}"}
      - {path: /plain}
      - {path: /query, identify_by: "${query.id}"}
  - id: second
    port: 9000
    public_url: https://second.example.org
    callbacks: [{path: /, identify_by: "${item.key}", bulk: true}]
  - id: starts
    port: 8091
    triggers: [{path: /in/tasks/done}]
gateways:
  - {id: g, driver: ngrok, port: [8090, 8091, 7000]}
workflow: {component: c}
components:
  c:
    type: %s
    %s
`
	for _, tc := range []struct{ name, fields, want string }{
		{"nothing of a listener", `body: {x: 1}`, "none"},
		{"the run's id alone hands nothing out", `body: "${context.run_id}"`, "none"},
		{"the URL", `body: "${listener.url}"`, "implied by ${body.task}"},
		{"the URL in a header, the id in a parameter", `{headers: {U: "${listener.url}"}, params: {i: "${context.run_id}"}}`, "implied own id"},
		{"the id alone", `body: {id: "${listener.id}"}`, "implied own id"},
		{"within the URL", `endpoint: "http://x/?cb=${listener.url}"`, "implied by ${body.task}"},
		{"another listener's URL", `body: "${listener:second.url}"`, "implied by ${item.key}"},
		{"a trigger's URL", `body: "${listener:starts.url}"`, "none"},
		{"base_url and a path", `body: "${listener.base_url}/in/plain"`, "implied __callback__"},
		{"base_url alone", `body: "${listener.base_url}"`, "none"},
		{"the gateway and the path of the first", `body: "${gateway:8090.public_url}/in/tasks/done"`, "implied by ${body.task}"},
		{"with a query", `body: "${gateway:8090.public_url}/in/tasks/done?id=${context.run_id}"`, "implied own id"},
		{"with a slash at the end", `body: "see ${gateway:8090.public_url}/in/tasks/done/ for more"`, "implied by ${body.task}"},
		{"an id that comes in the query", `body: "${gateway:8090.public_url}/in/query"`, "implied by ${query.id}"},
		{"a query of ours", `body: "${gateway:8090.public_url}/in/query?id=${listener.id}"`, "implied own id"},
		{"a segment with a name", `body: "${gateway:8090.public_url}/in/jobs/a/end"`, "implied by ${body.job}"},
		{"a segment from an expression", `body: "${gateway:8090.public_url}/in/jobs/${input.kind}/end"`, "implied by ${body.job}"},
		{"a callback without identify_by", `body: "${gateway:8090.public_url}/in/plain"`, "implied __callback__"},
		{"another path", `body: "${gateway:8090.public_url}/in/tasks"`, "none"},
		{"a longer path", `body: "${gateway:8090.public_url}/in/tasks/done/now"`, "none"},
		{"the root", `body: "${gateway:9000.public_url}"`, "implied by ${item.key}"},
		{"the trigger's port", `body: "${gateway:8091.public_url}/in/tasks/done"`, "none"},
		{"a port without listener", `body: "${gateway:7000.public_url}/in/tasks/done"`, "none"},
		{"the address, not the URL", `body: "${gateway:8090.public_address}/in/tasks/done"`, "none"},
		{"in the output alone", `output: "${listener.url}"`, "none"},
		{"turned off", `{body: "${listener.url}", completion: none}`, "none"},
		{"written", `completion: {type: callback, wait_for: "${response.id}"}`, "callback ${response.id}"},
		{"written, with the own id", `completion: {type: callback, wait_for: "${context.run_id}"}`, "callback own id, written"},
		{"written, with more than the own id", `completion: {type: callback, wait_for: "x-${context.run_id}"}`, "callback x-${context.run_id}"},
		{"written without wait_for, the id sent", `{body: "${context.run_id}", completion: callback}`, "callback own id"},
		{"written without wait_for, the URL sent", `{body: "${gateway:8090.public_url}/in/plain", completion: callback}`, "callback __callback__"},
		{"written without wait_for, nothing sent", `completion: callback`, "callback by ${body.task}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fields := tc.fields
			if inner, ok := strings.CutPrefix(fields, "{"); ok {
				fields = "<<: {" + inner
			}
			doc, err := read(t, fmt.Sprintf(around, HTTPClient, fields))
			if err != nil {
				t.Fatal(err)
			}
			if got := waits(doc.Components["c"].Actions[DefaultAction].Completion); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	doc, err := read(t, fmt.Sprintf(around, Logger, `message: "wait at ${listener.url}"`))
	if err != nil {
		t.Fatal(err)
	}
	if got := doc.Components["c"].Actions[DefaultAction].Completion.Kind; got != CompleteNow {
		t.Errorf("a logger waits: %s", got)
	}
}

func TestOverlap(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"/a", "/a", true},
		{"/a", "/b", false},
		{"/a", "/a/b", false},
		{"/{x}", "/{y}", true},
		{"/{x}", "/a", false}, // the closer one wins
		{"/a/{x}", "/{y}/b", true},
		{"/a/{x}/c", "/a/b/{y}", true},
		{"/a/{x}/c", "/a/{y}/d", false},
		{"/{x}/{y}", "/{x}/b", false},
	} {
		if got := overlap(tc.a, tc.b); got != tc.want || overlap(tc.b, tc.a) != got {
			t.Errorf("overlap(%q, %q) = %v", tc.a, tc.b, got)
		}
	}
}
