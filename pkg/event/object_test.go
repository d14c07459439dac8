package event

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// large and little are values of a document: what a stub leaves out, and what it keeps.
var (
	large  = json.RawMessage(`"` + strings.Repeat("x", 2000) + `"`)
	little = json.RawMessage(`{"n":1}`)
)

func TestStub(t *testing.T) {
	full := func(v json.RawMessage) *Run {
		fault := func() *RunError { return &RunError{Code: "c", Message: "m", Job: "j", Data: v} }
		wait := func(id string) *WaitState { return &WaitState{ID: id, Used: 7, Results: []json.RawMessage{v}} }
		return &Run{
			ID: "r", Workflow: "w", Status: StatusFailed, Input: v, Output: v, Error: fault(), Version: 1,
			Jobs: map[string]*Job{"j": {
				Status: StatusFailed, Input: v, Output: v, Progress: v, Error: fault(),
				Attempts: []*Attempt{{
					Number: 1, Error: fault(), Response: v, Output: v, Requests: []Request{{Method: "POST", Status: 500}},
					Wait: wait("a"), More: []*WaitState{wait("b")},
				}},
			}},
		}
	}
	o := &Object{Bucket: "documents", Name: "r.1"}
	whole := full(little)
	if d := cmp.Diff(whole.Stub(o), func() *Run { r := full(little); r.Object = o; return r }()); d != "" {
		t.Errorf("a stub of small values differs:\n%s", d)
	}
	run := full(large)
	stub := run.Stub(o)
	want := full(nil)
	want.Object = o
	want.Jobs["j"].Attempts[0].Wait.Results, want.Jobs["j"].Attempts[0].More[0].Results = nil, nil
	if d := cmp.Diff(want, stub); d != "" {
		t.Errorf("a stub of large values:\n%s", d)
	}
	if d := cmp.Diff(full(large), run); d != "" {
		t.Errorf("the run has changed:\n%s", d)
	}
}

func TestStubCutsMessages(t *testing.T) {
	run := &Run{Error: &RunError{Message: strings.Repeat("ä", 5000)}}
	if m := run.Stub(nil).Error.Message; len(m) > 5000 || !strings.HasSuffix(m, "ä…") {
		t.Errorf("%d bytes, ends with %q", len(m), m[len(m)-5:])
	}
}

func TestSmallNotice(t *testing.T) {
	n := &Notice{Event: RunFailed, Output: large, Progress: large, Error: &RunError{Code: "c", Data: large}}
	if d := cmp.Diff(&Notice{Event: RunFailed, Error: &RunError{Code: "c"}, Cut: true}, n.Small()); d != "" {
		t.Error(d)
	}
}
