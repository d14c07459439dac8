package engine

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
)

// TurnID is the id of the timer by which a run that is queued looks for its turn: no job's timer can have it. Each turn
// has its own, so that who ends one's late does not end the next one's.
func TurnID(runID string, number int) string {
	if number == 1 {
		return runID + turnSuffix
	}
	return runID + turnSuffix + "." + strconv.Itoa(number)
}

const turnSuffix = "..turn"

// isTurn tells whether an id is that of one of the run's turns.
func isTurn(id, runID string) bool {
	rest, ok := strings.CutPrefix(id, runID+turnSuffix)
	return ok && (rest == "" || rest[0] == '.')
}

// Acquire asks for the run's turn; the answer is Granted or NotYet. Check: make sure as well that those who have their
// turn still go. Rung: somebody has rung because it has come.
type Acquire struct {
	Turn  event.Turn
	Limit int
	Check bool
	Rung  bool
}

// Release gives a turn back, or the place in the queue.
type Release struct{ Turn event.Turn }

func (Acquire) command() {}
func (Release) command() {}

// Granted says that the run's turn has come.
type Granted struct {
	Turn    event.Turn // as it was asked for
	Trigger string
	At      time.Time
}

// NotYet says that the run is queued.
type NotYet struct {
	Trigger string
	At      time.Time
}

func (e Granted) at() time.Time { return e.At }
func (e NotYet) at() time.Time  { return e.At }

// enqueue makes the run wait for its turn.
func (s *step) enqueue(request uint64) {
	c := s.workflow.Concurrency
	turn := &event.Turn{Number: 1, Since: s.now, Deadline: s.now.Add(DefaultWaitTimeout), Request: request, Trigger: s.trigger}
	if c.Timeout > 0 {
		turn.Deadline = s.now.Add(c.Timeout)
	}
	if before := s.run.Turn; before != nil {
		turn.Number = before.Number + 1
	}
	s.changed = true
	if c.Key != nil {
		var err error
		if turn.Key, err = eval(c.Key, s.scope()); err != nil {
			s.end(event.StatusFailed, &event.RunError{Code: CodeExpression, Message: "the key of concurrency: " + err.Error()})
			return
		}
	}
	s.run.Turn, s.run.Status = turn, event.StatusWaiting
	s.do(Acquire{Turn: *turn, Limit: c.Limit})
}

// granted begins what the run has waited for. A turn that it does not wait for is given back.
func (s *step) granted(ev Granted) {
	switch turn := s.run.Turn; {
	case turn == nil || turn.Number != ev.Turn.Number || s.run.Status.Ended():
		s.do(Release{Turn: ev.Turn})
		return
	case !s.run.Queued():
		return
	}
	s.changed = true
	turn := *s.run.Turn
	turn.GrantedAt = s.now
	s.run.Turn, s.run.Status = &turn, event.StatusRunning
	s.do(End{Wait: s.turnTimer()})
	if s.run.StartedAt.IsZero() {
		s.run.StartedAt = s.now
		s.notify(event.Notice{Event: event.RunStarted})
		return
	}
	s.goOn()
}

// Pauses between a queued run's own looks at its turn: it is rung for, so these are for what was left behind by a crash.
const (
	firstLook = time.Minute
	lastLook  = time.Hour
)

// notYet makes the run look again later, and ends one that has been queued for too long.
func (s *step) notYet() {
	if !s.run.Queued() {
		return
	}
	turn := s.run.Turn
	if !s.now.Before(turn.Deadline) {
		s.end(event.StatusFailed, &event.RunError{
			Code:    CodeTimeout,
			Message: fmt.Sprintf("the run was queued until %s, and its turn did not come", shown(turn.Deadline)),
		})
		return
	}
	s.do(Sleep{Wait: s.turnTimer()})
}

// turnTimer is when the run looks for its turn: the longer it is queued, the less often.
func (s *step) turnTimer() event.Wait {
	turn := s.run.Turn
	pause := min(max(s.now.Sub(turn.Since), firstLook), lastLook)
	return event.Wait{ID: TurnID(s.run.ID, turn.Number), Run: s.run.ID, Since: turn.Since, Deadline: earlier(s.now.Add(pause), turn.Deadline), Timer: true}
}

// look asks for the run's turn again, because somebody has rung or because it is time to.
func (s *step) look(rung bool) {
	switch {
	case s.run.Turn == nil:
	case s.run.Queued():
		s.do(Acquire{Turn: *s.run.Turn, Limit: s.workflow.Concurrency.Limit, Check: true, Rung: rung})
	case s.run.Status.Ended():
		s.do(Release{Turn: *s.run.Turn})
	}
}
