package event

import (
	"encoding/json"
	"unicode/utf8"
)

// Object refers to an object in an object store bucket: what is too large for a message.
type Object struct {
	Bucket string `json:"bucket"`
	Name   string `json:"name"`
	Size   int64  `json:"size,omitempty"`
	Digest string `json:"digest,omitempty"` // SHA-256=<base64url>
}

// What a stub may have of one value, and of an error's message.
const (
	stubValue   = 1 << 10
	stubMessage = 4 << 10
)

// Stub gives the run document without its large values: what listings need of it. The whole of it lies in the object.
func (r *Run) Stub(o *Object) *Run {
	stub := *r
	stub.Object = o
	stub.Input, stub.Output, stub.Error = small(r.Input), small(r.Output), r.Error.small()
	stub.Jobs = make(map[string]*Job, len(r.Jobs))
	for id, job := range r.Jobs {
		j := *job
		j.Input, j.Output, j.Progress, j.Error = small(job.Input), small(job.Output), small(job.Progress), job.Error.small()
		j.Attempts = make([]*Attempt, len(job.Attempts))
		for i, attempt := range job.Attempts {
			a := *attempt
			a.Response, a.Output, a.Error = small(attempt.Response), small(attempt.Output), attempt.Error.small()
			a.Wait = attempt.Wait.small()
			a.More = make([]*WaitState, len(attempt.More))
			for n, w := range attempt.More {
				a.More[n] = w.small()
			}
			j.Attempts[i] = &a
		}
		stub.Jobs[id] = &j
	}
	return &stub
}

// Small gives the notice without its large values.
func (n *Notice) Small() *Notice {
	s := *n
	s.Output, s.Progress, s.Error, s.Wait, s.Cut = small(n.Output), small(n.Progress), n.Error.small(), n.Wait.small(), true
	return &s
}

func small(raw json.RawMessage) json.RawMessage {
	if len(raw) > stubValue {
		return nil
	}
	return raw
}

func (e *RunError) small() *RunError {
	if e == nil {
		return nil
	}
	s := *e
	s.Data = small(e.Data)
	if len(s.Message) > stubMessage {
		cut := stubMessage
		for !utf8.RuneStart(s.Message[cut]) {
			cut--
		}
		s.Message = s.Message[:cut] + "…"
	}
	return &s
}

func (w *WaitState) small() *WaitState {
	if w == nil {
		return nil
	}
	s := *w
	total := 0
	for _, r := range w.Results {
		total += len(r)
	}
	if total > stubValue {
		s.Results = nil
	}
	return &s
}
