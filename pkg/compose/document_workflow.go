package compose

import (
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// Workflow is a set of jobs and their order.
type Workflow struct {
	Pos         Pos
	ID          string
	Title       string
	Description string
	Inputs      []*Input // what a run's input must hold; nil: anything
	Jobs        []*Job   // in list order, then the jobs of on_error; ids are unique
	Output      *expr.Template
	Timeout     time.Duration // 0: none
	Concurrency *Concurrency
	OnFailure   *Hook
	OnSuccess   *Hook
	Broken      string // why no run of it can go on, where Stored cannot read it
}

// Input is one declared field of a workflow's input.
type Input struct {
	Pos         Pos
	Name        string
	Type        string // any, string, integer, number, boolean, object or array
	Required    bool
	Default     *expr.Template // a literal; nil: none
	Enum        []any          // nil: anything
	Description string
	Minimum     *float64
	Maximum     *float64
	Pattern     string
}

// Concurrency bounds how many runs of a workflow go at once.
type Concurrency struct {
	Limit   int
	Key     *expr.Template // over the input: the limit is for each value; nil: for all
	Timeout time.Duration  // how long a run may be queued; 0: a day
}

// Hook is a workflow that is run when another has ended. Its input is the run document where Input is nil.
type Hook struct {
	Pos      Pos
	Workflow string
	Input    *expr.Template
}

// Job gives the job with the id, or nil.
func (w *Workflow) Job(id string) *Job {
	for _, j := range w.Jobs {
		if j.ID == id {
			return j
		}
	}
	return nil
}
