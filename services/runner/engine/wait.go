package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/value"
)

// wait begins a job that waits for a callback with no request of ours.
func (s *step) wait(def *compose.Job) error {
	if _, err := s.input(def); err != nil {
		return err
	}
	id := event.InvocationID(s.run.ID, def.ID, last(s.run.Jobs[def.ID]).Number)
	w := Wait{ID: id, Timeout: def.Timeout}
	if c := def.Wait; c != nil {
		w.Timeout, w.AcceptEarly, w.Quorum, w.Heartbeat = max(w.Timeout, c.Timeout), c.AcceptEarly, c.Quorum, c.Heartbeat
		if c.WaitFor != nil {
			v, err := c.WaitFor.Eval(s.inputScope(def))
			if err != nil {
				return fmt.Errorf("wait_for: %w", err)
			}
			if w.ID, w.More, err = IDs(v); err != nil {
				return fmt.Errorf("wait_for: %w", err)
			}
		}
	}
	if err := Reachable(w.Quorum, w.More); err != nil {
		return fmt.Errorf("quorum: %w", err)
	}
	s.await(def, s.job(def.ID), w)
	return nil
}

// IDs reads what a wait is for: one id, or a list of them, each once.
func IDs(v any) (id string, more []string, err error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var ids []string
	for _, item := range list {
		id := value.Text(item)
		switch {
		case id == "":
			return "", nil, errors.New("the id to wait for is empty")
		case subject.Long(id, subject.MaxID):
			return "", nil, fmt.Errorf("an id to wait for has %d bytes at most, and this one is longer: %s…", subject.MaxID, strings.ToValidUTF8(id[:min(len(id), 40)], ""))
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return "", nil, errors.New("the list of ids to wait for is empty")
	}
	if len(ids) == 1 {
		return ids[0], nil, nil
	}
	return ids[0], ids[1:], nil
}

// Reachable tells whether so many callbacks can come: of several ids each counts once, and one id as often as it is called.
func Reachable(quorum int, more []string) error {
	if ids := 1 + len(more); ids > 1 && quorum > ids {
		return fmt.Errorf("there are %d ids to wait for, which cannot bring %d callbacks", ids, quorum)
	}
	return nil
}

// await makes the last attempt at a job wait for a callback.
func (s *step) await(def *compose.Job, job *event.Job, w Wait) {
	a := last(job)
	deadline := a.StartedAt.Add(s.invocationLimit(def))
	if w.Timeout > 0 {
		deadline = s.now.Add(w.Timeout)
		if action := s.action(def); action != nil && action.Timeout > 0 {
			deadline = earlier(deadline, a.StartedAt.Add(action.Timeout))
		}
	}
	a.Wait = &event.WaitState{
		ID: w.ID, Since: s.now, Deadline: s.limit(def, job, deadline), AcceptEarly: w.AcceptEarly, Heartbeat: w.Heartbeat,
	}
	a.Wait.Quorum = w.Quorum
	if w.Quorum <= 0 { // not given, or all
		a.Wait.Quorum = 1 + len(w.More)
	}
	a.Wait.Used = s.usedOf(w.ID)
	for _, id := range w.More {
		more := *a.Wait
		more.ID, more.Used = id, s.usedOf(id)
		a.More = append(a.More, &more)
	}
	job.Status = event.StatusWaiting
	s.notify(event.Notice{Event: event.JobWaiting, Job: def.ID, Attempt: a.Number, Wait: a.Wait})
	s.park(def, job)
}

// park commands the wait of the last attempt, and again those of the attempts before it: a callback that was on its
// way to one of them still counts.
func (s *step) park(def *compose.Job, job *event.Job) {
	deadline := last(job).Wait.Deadline
	parked := map[string]bool{}
	attempts := round(job)
	for _, a := range slices.Backward(attempts) {
		for _, w := range waits(a) {
			if parked[w.ID] || spent(a, w) {
				continue
			}
			parked[w.ID] = true
			s.do(Park{
				Wait:      event.Wait{ID: w.ID, Run: s.run.ID, Job: def.ID, Attempt: a.Number, Since: w.Since, Deadline: deadline, Used: w.Used},
				NotBefore: s.run.CreatedAt, AcceptEarly: w.AcceptEarly,
			})
		}
	}
}

// endWaits commands the end of every wait and timer that the job may have.
func (s *step) endWaits(def *compose.Job, job *event.Job) {
	ended := map[string]bool{}
	for _, a := range slices.Backward(round(job)) { // the last attempt that waited for an id has its wait
		for _, w := range waits(a) {
			if ended[w.ID] {
				continue
			}
			ended[w.ID] = true
			s.do(End{Wait: event.Wait{ID: w.ID, Run: s.run.ID, Job: def.ID, Attempt: a.Number}, Used: w.Used})
		}
	}
	if t, ok := s.timer(def, job); ok {
		s.do(End{Wait: t})
	}
}

// calledBack takes a callback. One that has been used already is this delivery coming again; any other for a job that
// has ended changes nothing, but may have brought one before it to the run.
func (s *step) calledBack(ev CalledBack) {
	def, n, which, ok := s.waiting(ev.Callback.ID)
	if !ok {
		s.repeat()
		return
	}
	old := s.run.Jobs[def.ID]
	was := waitOf(old.Attempts[n], which)
	switch {
	case ev.Callback.Seq != 0 && ev.Callback.Seq <= max(was.Used, s.usedOf(ev.Callback.ID)), old.Status.Ended(), spent(old.Attempts[n], was):
		s.repeat()
		return
	}
	job := s.job(def.ID)
	a := job.Attempts[n]
	w := waitOf(a, which)
	w.Used = ev.Callback.Seq
	if s.used != nil {
		s.used[w.ID] = max(s.used[w.ID], w.Used)
	}
	switch ev.Callback.Outcome {
	case event.Progress:
		s.progressed(def, job, a, ev)
	case event.Failed:
		w.ResumedBy = resumedBy(ev, s.now)
		s.calledOff(def, job, a, ev)
	default:
		w.ResumedBy = resumedBy(ev, s.now)
		w.Results = append(w.Results[:len(w.Results):len(w.Results)], orNull(ev.Callback.Result))
		came, all := 0, []json.RawMessage{}
		for _, w := range waits(a) {
			came += len(w.Results)
			all = append(all, w.Results...)
		}
		if came < a.Wait.Quorum {
			s.notify(event.Notice{Event: event.JobProgress, Job: def.ID, Attempt: a.Number, Progress: ev.Callback.Result})
			return
		}
		result := ev.Callback.Result
		if a.Wait.Quorum > 1 {
			result = join(all)
		}
		for _, w := range waits(a) {
			w.Results = nil // they are in the output
		}
		s.succeeded(def, job, a, result)
	}
}

// calledOff takes a callback that says that its task has failed. Of several ids the others may still be enough.
func (s *step) calledOff(def *compose.Job, job *event.Job, a *event.Attempt, ev CalledBack) {
	if a != last(job) {
		return // an earlier attempt's failure says nothing of the one that is under way
	}
	if len(a.More) > 0 {
		possible := 0
		for _, w := range waits(a) {
			if w.ResumedBy == nil || w.ResumedBy.Outcome != event.Failed {
				possible++
			}
		}
		if possible >= a.Wait.Quorum {
			return
		}
	}
	message := ev.Callback.Error
	if message == "" {
		message = "the callback says that it failed"
	}
	s.fail(def, job, Error{Code: CodeCallback, Message: message, Data: ev.Callback.Result})
}

func resumedBy(ev CalledBack, at time.Time) *event.ResumedBy {
	return &event.ResumedBy{Seq: ev.Callback.Seq, Outcome: ev.Callback.Outcome, Endpoint: ev.Callback.Endpoint, At: at, Early: ev.Early}
}

func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}

// join makes a list of values that are JSON already.
func join(all []json.RawMessage) json.RawMessage {
	list := []byte{'['}
	for i, raw := range all {
		if i > 0 {
			list = append(list, ',')
		}
		list = append(list, raw...)
	}
	return append(list, ']')
}

// progressed notes progress; where the file says so it is a sign of life, which moves the deadline.
func (s *step) progressed(def *compose.Job, job *event.Job, a *event.Attempt, ev CalledBack) {
	job.Progress = ev.Callback.Result
	s.notify(event.Notice{Event: event.JobProgress, Job: def.ID, Attempt: a.Number, Progress: job.Progress})
	if a.Wait.Heartbeat > 0 && a == last(job) && job.Status == event.StatusWaiting {
		if later := s.limit(def, job, s.now.Add(a.Wait.Heartbeat)); later.After(a.Wait.Deadline) {
			for _, w := range waits(a) {
				w.Deadline = later
			}
			a.Trigger = s.trigger
			s.park(def, job)
		}
	}
}

// succeeded ends a job with what an invocation has brought in the end.
func (s *step) succeeded(def *compose.Job, job *event.Job, a *event.Attempt, result json.RawMessage) {
	output, err := s.result(def, job, a, result)
	if err != nil {
		s.fail(def, job, Error{Code: CodeOutput, Message: fmt.Sprintf("the component's output: %v", err), Permanent: true})
		return
	}
	s.done(def, job, output)
}

// result is the component's output together with the callback's result.
func (s *step) result(def *compose.Job, job *event.Job, a *event.Attempt, raw json.RawMessage) (json.RawMessage, error) {
	result, err := decoded(raw, nil)
	if err != nil {
		return nil, err
	}
	action := s.action(def)
	if action != nil && action.Output != nil && action.OutputNeedsResult {
		scope, err := s.actionScope(def, job, a, result)
		if err != nil {
			return nil, err
		}
		return eval(action.Output, scope)
	}
	if len(raw) == 0 {
		return a.Output, nil
	}
	output, err := decoded(a.Output, nil)
	if err != nil {
		return nil, err
	}
	return encoded(overlay(output, result))
}

// actionScope is what a component's templates may refer to once the result is there.
func (s *step) actionScope(def *compose.Job, job *event.Job, a *event.Attempt, result any) (expr.Scope, error) {
	input, err := decoded(job.Input, nil)
	if ReadsVariables(def.Input) { // which are masked in what was kept
		input, _, err = s.evalInput(def)
	}
	if err != nil {
		return nil, err
	}
	response, err := decoded(a.Response, nil)
	if err != nil {
		return nil, err
	}
	return ActionScope{
		Invocation: event.InvocationID(s.run.ID, def.ID, a.Number), Run: s.run.ID, Job: def.ID, Workflow: s.run.Workflow,
		Attempt: a.Number, Input: input, Response: response, Result: result, At: s.now, Static: s.world.Static,
	}, nil
}

// expired takes the end of a wait's or a timer's time.
func (s *step) expired(ev Expired) {
	if isTurn(ev.ID, s.run.ID) {
		// Repeat gives the turn back of a run that this message has ended, and that of an earlier turn's message.
		if t := s.run.Turn; t != nil && ev.ID == TurnID(s.run.ID, t.Number) && s.run.EndedBy != s.trigger {
			s.look(ev.Rung)
		}
		s.repeat()
		return
	}
	if s.rang(ev) {
		return
	}
	def, n, _, ok := s.waiting(ev.ID)
	if !ok {
		s.repeat()
		return
	}
	old := s.run.Jobs[def.ID]
	a := last(old)
	switch {
	case old.Status.Ended() || a.Wait == nil || !a.EndedAt.IsZero() || n != len(old.Attempts)-1:
		s.repeat() // it has been dealt with; of several attempts' waits the last one's decides
		return
	case s.now.Before(a.Wait.Deadline):
		s.park(def, s.job(def.ID)) // a timer of an earlier deadline: it has taken the wait's key with it
		if _, ok := Took(s.run, ev.Seq); ok {
			s.repeat() // another job's, which waited for the id before
		}
		return
	}
	job := s.job(def.ID)
	a = last(job)
	message := tooFew(a)
	for _, w := range waits(a) {
		if w.ResumedBy == nil || len(a.More) == 0 { // of several ids, some may have been called back
			w.ResumedBy = &event.ResumedBy{Seq: ev.Seq, At: s.now, Timeout: true}
		}
	}
	s.fail(def, job, Error{Code: CodeTimeout, Message: message, Permanent: s.noTimeLeft(def, job)})
}

// tooFew says which callbacks have not come by the deadline.
func tooFew(a *event.Attempt) string {
	came, missing := 0, []string{}
	for _, w := range waits(a) {
		if came += len(w.Results); w.ResumedBy == nil {
			missing = append(missing, w.ID)
		}
	}
	if n := len(missing); n > 3 {
		missing = append(missing[:3:3], fmt.Sprintf("%d more", n-3))
	}
	ids, until := strings.Join(missing, ", "), shown(a.Wait.Deadline)
	switch {
	case came == 0:
		return fmt.Sprintf("no callback for %s came until %s", ids, until)
	case len(a.More) == 0:
		return fmt.Sprintf("only %d of %d callbacks for %s came until %s", came, a.Wait.Quorum, a.Wait.ID, until)
	default:
		return fmt.Sprintf("only %d of %d callbacks came until %s, and none for %s", came, a.Wait.Quorum, until, ids)
	}
}

// shown is a moment as people read it.
func shown(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// noTimeLeft tells whether the job's or the run's own time is over: another attempt has none then.
func (s *step) noTimeLeft(def *compose.Job, job *event.Job) bool {
	return !s.limit(def, job, distant).After(s.now)
}

// refused takes a wait that could not be made.
func (s *step) refused(ev Refused) {
	def := s.find(ev.Job)
	n, _, ok := s.lastWait(ev.Job, ev.ID)
	if def == nil || !ok {
		return
	}
	old := s.run.Jobs[def.ID]
	if old.Status.Ended() || n != len(old.Attempts)-1 || !old.Attempts[n].EndedAt.IsZero() || ev.Attempt != 0 && ev.Attempt != old.Attempts[n].Number {
		return
	}
	job := s.job(def.ID)
	a := last(job)
	var others []*event.WaitState // the refused one is not ours to end
	for _, w := range waits(a) {
		if w.ID != ev.ID {
			others = append(others, w)
		}
	}
	a.Wait, a.More = nil, nil
	if len(others) > 0 {
		a.Wait, a.More = others[0], others[1:]
	}
	s.fail(def, job, ev.Err)
}

// repeat commands again what the step's trigger has set off and is not known to be done.
func (s *step) repeat() {
	for def := range s.defs(s.setOff) {
		job := s.run.Jobs[def.ID]
		a := last(job)
		switch {
		case job.Status.Ended():
			s.endWaits(def, job)
			if a.SubRun != "" && job.Status == event.StatusCancelled {
				s.do(CancelRun{ID: a.SubRun})
			}
		case job.Status == event.StatusRunning:
			if def.Type == compose.JobComponent {
				s.act(def)
			}
		case a.Wait != nil && a.EndedAt.IsZero():
			s.park(def, job)
			if a.SubRun != "" {
				s.spawn(def, job)
			}
		default:
			if t, ok := s.timer(def, job); ok {
				s.do(Sleep{Wait: t})
			}
		}
	}
	ended, turn := s.run.Status.Ended() && s.run.EndedBy == s.trigger, s.run.Turn
	if turn != nil && turn.Trigger == s.trigger {
		s.look(false)
	} else {
		if turn != nil {
			s.leaveEarlier()
		}
		if ended {
			s.leave()
		}
	}
	if ended {
		s.hooks()
		s.do(Finish{})
	}
}

// since is never before the start of the attempt.
func since(a *event.Attempt) time.Time {
	if a.EndedAt.IsZero() {
		return a.StartedAt
	}
	return a.EndedAt
}
