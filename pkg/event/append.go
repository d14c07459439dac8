package event

import (
	"encoding/json"
	"slices"
)

// What is stored and published at each step of a run is written by hand: reflection took a tenth of all that a run costs.
// It is what encoding/json writes, byte for byte. A field that is new must be written here too: a test goes through the
// types and tells which one is not.

// AppendJSON appends the document as encoding/json writes it.
func (r *Run) AppendJSON(dst []byte) ([]byte, error) {
	e := encoder{b: dst}
	e.run(r)
	return e.end(dst, r)
}

// AppendJSON appends the notice as encoding/json writes it.
func (n *Notice) AppendJSON(dst []byte) ([]byte, error) {
	e := encoder{b: dst}
	e.notice(n)
	return e.end(dst, n)
}

// AppendJSON appends the wait as encoding/json writes it.
func (w *Wait) AppendJSON(dst []byte) ([]byte, error) {
	const others = 192 // bytes, as a rule
	e := encoder{b: slices.Grow(dst, others+len(w.ID)+len(w.Run)+len(w.Job))}
	e.wait(w)
	return e.end(dst, w)
}

// end gives what was appended to dst. What could not be written is left to encoding/json, which says why.
func (e *encoder) end(dst []byte, v any) ([]byte, error) {
	if !e.failed {
		return e.b, nil
	}
	data, err := json.Marshal(v)
	return append(dst, data...), err
}

func (e *encoder) run(r *Run) {
	from := len(e.b)
	e.text(`,"id":`, r.ID)
	e.text(`,"workflow":`, r.Workflow)
	e.text(`,"definition":`, r.Definition)
	e.text(`,"status":`, string(r.Status))
	e.rawIf(`,"input":`, r.Input)
	e.rawIf(`,"output":`, r.Output)
	e.errorIf(r.Error)
	e.time(`,"created_at":`, r.CreatedAt)
	e.timeIf(`,"started_at":`, r.StartedAt)
	e.timeIf(`,"ended_at":`, r.EndedAt)
	e.jobsIf(r.Jobs)
	e.uintIf(`,"request":`, r.Request)
	e.textIf(`,"reply_to":`, r.ReplyTo)
	e.textIf(`,"parent":`, r.Parent)
	e.textIf(`,"trace":`, r.Trace)
	if r.Turn != nil {
		e.key(`,"turn":`)
		e.turn(r.Turn)
	}
	e.textIf(`,"ended_by":`, r.EndedBy)
	e.textIf(`,"retried_by":`, r.RetriedBy)
	e.timeIf(`,"retried_at":`, r.RetriedAt)
	e.int(`,"version":`, int64(r.Version))
	if r.Object != nil {
		e.key(`,"object":`)
		e.object(r.Object)
	}
	e.close(from)
}

func (e *encoder) jobsIf(jobs map[string]*Job) {
	if len(jobs) == 0 {
		return
	}
	var few [16]string
	ids := few[:0]
	for id := range jobs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	before := `,"jobs":{`
	for _, id := range ids {
		e.text(before, id)
		e.b = append(e.b, ':')
		e.job(jobs[id])
		before = ","
	}
	e.b = append(e.b, '}')
}

func (e *encoder) job(j *Job) {
	if j == nil {
		e.null()
		return
	}
	from := len(e.b)
	e.text(`,"status":`, string(j.Status))
	for i, a := range j.Attempts {
		e.key(separator(i, `,"attempts":[`))
		e.attempt(a)
	}
	e.closeList(len(j.Attempts))
	e.rawIf(`,"input":`, j.Input)
	e.rawIf(`,"output":`, j.Output)
	e.rawIf(`,"progress":`, j.Progress)
	e.errorIf(j.Error)
	e.timeIf(`,"retry_at":`, j.RetryAt)
	e.intIf(`,"round":`, int64(j.Round))
	e.intIf(`,"first":`, int64(j.First))
	e.boolIf(`,"called":`, j.Called)
	e.intIf(`,"items":`, int64(j.Items))
	e.close(from)
}

func (e *encoder) attempt(a *Attempt) {
	if a == nil {
		e.null()
		return
	}
	from := len(e.b)
	e.int(`,"number":`, int64(a.Number))
	e.time(`,"started_at":`, a.StartedAt)
	e.timeIf(`,"ended_at":`, a.EndedAt)
	e.errorIf(a.Error)
	for i := range a.Requests {
		e.key(separator(i, `,"requests":[`))
		e.request(&a.Requests[i])
	}
	e.closeList(len(a.Requests))
	e.waitIf(a.Wait)
	for i, w := range a.More {
		e.key(separator(i, `,"more_waits":[`))
		e.waitState(w)
	}
	e.closeList(len(a.More))
	e.textIf(`,"trigger":`, a.Trigger)
	e.rawIf(`,"response":`, a.Response)
	e.rawIf(`,"output":`, a.Output)
	e.timeIf(`,"due":`, a.Due)
	e.intIf(`,"polls":`, int64(a.Polls))
	e.textIf(`,"sub_run":`, a.SubRun)
	e.close(from)
}

func (e *encoder) request(r *Request) {
	from := len(e.b)
	e.text(`,"method":`, r.Method)
	e.text(`,"url":`, r.URL)
	e.intIf(`,"status":`, int64(r.Status))
	e.time(`,"at":`, r.At)
	e.int(`,"duration_ms":`, r.DurationMS)
	e.textIf(`,"error":`, r.Error)
	if len(r.Addresses) > 0 {
		var few [8]string
		names := few[:0]
		for name := range r.Addresses {
			names = append(names, name)
		}
		slices.Sort(names)
		before := `,"addresses":{`
		for _, name := range names {
			e.text(before, name)
			e.text(":", r.Addresses[name])
			before = ","
		}
		e.b = append(e.b, '}')
	}
	e.close(from)
}

func (e *encoder) waitIf(w *WaitState) {
	if w != nil {
		e.key(`,"wait":`)
		e.waitState(w)
	}
}

func (e *encoder) waitState(w *WaitState) {
	if w == nil {
		e.null()
		return
	}
	from := len(e.b)
	e.text(`,"id":`, w.ID)
	e.time(`,"since":`, w.Since)
	e.time(`,"deadline":`, w.Deadline)
	if w.ResumedBy != nil {
		e.key(`,"resumed_by":`)
		e.resumedBy(w.ResumedBy)
	}
	e.uintIf(`,"used":`, w.Used)
	e.textIf(`,"accept_early":`, w.AcceptEarly)
	e.intIf(`,"quorum":`, int64(w.Quorum))
	for i, result := range w.Results {
		e.key(separator(i, `,"results":[`))
		if result == nil {
			e.null()
		} else {
			e.raw(result)
		}
	}
	e.closeList(len(w.Results))
	e.intIf(`,"heartbeat":`, int64(w.Heartbeat))
	e.close(from)
}

func (e *encoder) resumedBy(r *ResumedBy) {
	from := len(e.b)
	e.uintIf(`,"seq":`, r.Seq)
	e.textIf(`,"outcome":`, string(r.Outcome))
	e.textIf(`,"endpoint":`, r.Endpoint)
	e.time(`,"at":`, r.At)
	e.boolIf(`,"timeout":`, r.Timeout)
	e.boolIf(`,"early":`, r.Early)
	e.close(from)
}

func (e *encoder) errorIf(r *RunError) {
	if r == nil {
		return
	}
	e.key(`,"error":`)
	from := len(e.b)
	e.text(`,"message":`, r.Message)
	e.text(`,"code":`, r.Code)
	e.textIf(`,"job":`, r.Job)
	e.rawIf(`,"data":`, r.Data)
	e.close(from)
}

func (e *encoder) turn(t *Turn) {
	from := len(e.b)
	e.int(`,"number":`, int64(t.Number))
	e.rawIf(`,"key":`, t.Key)
	e.time(`,"since":`, t.Since)
	e.time(`,"deadline":`, t.Deadline)
	e.timeIf(`,"granted_at":`, t.GrantedAt)
	e.uintIf(`,"request":`, t.Request)
	e.textIf(`,"trigger":`, t.Trigger)
	e.close(from)
}

func (e *encoder) object(o *Object) {
	from := len(e.b)
	e.text(`,"bucket":`, o.Bucket)
	e.text(`,"name":`, o.Name)
	e.intIf(`,"size":`, o.Size)
	e.textIf(`,"digest":`, o.Digest)
	e.close(from)
}

func (e *encoder) notice(n *Notice) {
	from := len(e.b)
	e.text(`,"run":`, n.Run)
	e.text(`,"workflow":`, n.Workflow)
	e.text(`,"event":`, n.Event)
	e.time(`,"at":`, n.At)
	e.textIf(`,"job":`, n.Job)
	e.intIf(`,"attempt":`, int64(n.Attempt))
	e.waitIf(n.Wait)
	e.rawIf(`,"progress":`, n.Progress)
	e.rawIf(`,"output":`, n.Output)
	e.errorIf(n.Error)
	e.timeIf(`,"retry_at":`, n.RetryAt)
	e.boolIf(`,"cut":`, n.Cut)
	e.close(from)
}

func (e *encoder) wait(w *Wait) {
	from := len(e.b)
	e.text(`,"id":`, w.ID)
	e.text(`,"run":`, w.Run)
	e.text(`,"job":`, w.Job)
	e.int(`,"attempt":`, int64(w.Attempt))
	e.time(`,"since":`, w.Since)
	e.time(`,"deadline":`, w.Deadline)
	e.uintIf(`,"used":`, w.Used)
	e.boolIf(`,"timer":`, w.Timer)
	e.textIf(`,"reason":`, w.Reason)
	e.close(from)
}
