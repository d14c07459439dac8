package engine

import (
	"encoding/json"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
)

// Command is something that is to be done for a run.
type Command interface{ command() }

// Act performs an invocation; its end is Acted.
type Act struct {
	Job      *compose.Job
	Of       *compose.Component
	Action   *compose.Action
	Attempt  int
	Poll     int       // 0 for the request itself, else the number of the poll
	ID       string    // the invocation's id: the same whenever it is repeated
	Deadline time.Time // of the invocation
	Scope    Scope     // what the job's input may refer to
}

// Park makes a wait; callbacks that are there already come back as CalledBack.
type Park struct {
	Wait        event.Wait
	NotBefore   time.Time // a callback that the server took earlier does not count
	AcceptEarly string
}

// Sleep makes a timer; its end is Expired.
type Sleep struct{ Wait event.Wait }

// End ends a wait or a timer.
type End struct {
	Wait event.Wait
	Used uint64 // the last callback that the wait has used; 0: none
}

// StartRun asks for another run. Asked again, it is the same one.
type StartRun struct {
	ID         string
	Workflow   string
	Input      json.RawMessage
	Parent     string // the wait that its end is a callback for; "" for none
	Definition string
}

// CancelRun cancels another run.
type CancelRun struct{ ID, Reason string }

// Notify tells those who watch.
type Notify struct{ Notice *event.Notice }

// Finish tells the one who asked for the run that it has ended.
type Finish struct{}

func (Act) command()       {}
func (Park) command()      {}
func (Sleep) command()     {}
func (End) command()       {}
func (Notify) command()    {}
func (StartRun) command()  {}
func (CancelRun) command() {}
func (Finish) command()    {}

// Wanted tells whether a command is still to be done by the run as it is now: what was commanded after it may have
// ended its job.
func Wanted(run *event.Run, c Command) bool {
	switch c := c.(type) {
	case Act:
		job := run.Jobs[c.Job.ID]
		return job != nil && job.Status == event.StatusRunning && len(job.Attempts) == c.Attempt && last(job).Polls == c.Poll
	case Park:
		job := run.Jobs[c.Wait.Job]
		return job != nil && !job.Status.Ended() && len(job.Attempts) > 0 && last(job).Wait != nil
	case Sleep:
		if isTurn(c.Wait.ID, run.ID) {
			return run.Queued() && c.Wait.ID == TurnID(run.ID, run.Turn.Number)
		}
		job := run.Jobs[c.Wait.Job]
		return job != nil && job.Status == event.StatusWaiting || c.Wait.ID == LeftoverID(run.ID)
	case Acquire:
		return run.Queued() && run.Turn.Number == c.Turn.Number
	case StartRun:
		return c.Parent == "" || !run.Status.Ended()
	default:
		return true
	}
}
