package compose

import (
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// Job types.
const (
	JobComponent = "component"
	JobDelay     = "delay"
	JobIf        = "if"
	JobSwitch    = "switch"
	JobForEach   = "for-each"
	JobFilter    = "filter"
	JobRouter    = "random-router"
	JobWorkflow  = "workflow"
	JobWait      = "wait"
)

// Job is one step of a workflow.
type Job struct {
	Pos       Pos
	ID        string
	Type      string // JobComponent, …
	Component string
	Action    string         // id of the component's action, resolved
	Input     *expr.Template // nil: the workflow's input
	Output    *expr.Template // nil: the component's output
	// Before is the job whose output ${output} means in what is evaluated before this one runs: the one before it in its
	// list. Empty where that is not used.
	Before string
	// Needs is all that must be done before: each group is satisfied when any of its jobs is.
	Needs   [][]string
	When    *expr.Template // nil: always
	Timeout time.Duration
	Retry   Retry
	OnError OnError
	// RoutedOnly: the job runs only when another routes to it.
	RoutedOnly bool
	// MaxRunCount is how often the job may run within one run.
	MaxRunCount int

	// One of these is there, where Type says so.
	Delay    *Delay
	If       *If
	Switch   *Switch
	ForEach  *ForEach
	Filter   *Condition // over ${item} of the list Input
	Routings []Routing
	Workflow string      // of type workflow: the id of the one to run
	Wait     *Completion // of type wait; OwnID where there is no wait_for

	Broken string // why it cannot be begun, where Stored cannot read it
}

// Delay is a job that waits for a time.
type Delay struct {
	Duration *expr.Template // a length as in the file, or
	Time     *expr.Template // a moment
	Timezone *time.Location // of a Time without one; UTC
}

// If is a job that routes by conditions, the first that holds.
type If struct {
	Branches  []Branch
	Otherwise string // "" goes nowhere
}

// Branch is one condition of an If.
type Branch struct {
	Condition *Condition
	Then      string // "" goes nowhere
	Else      string // where to go at once when it does not hold; "" tries the next branch
}

// Switch is a job that routes by the value of its Input.
type Switch struct {
	Cases     []Case
	Otherwise string // "" goes nowhere
}

// Case is one value of a Switch.
type Case struct {
	Value *expr.Template
	Then  string
}

// ForEach is a job that runs an action for each item of its Input.
type ForEach struct {
	Component string
	Action    string
	Input     *expr.Template // over ${item} and ${index}; nil: the item
	Output    *expr.Template // nil: the component's output
	BatchSize int            // items at once; 0: all
}

// Routing is one way of a random-router.
type Routing struct {
	To     string
	Weight float64
}

// Condition is a test: one of Expr, Operator with its sides, All, Any and Not.
type Condition struct {
	Pos      Pos
	Expr     *expr.Template // holds when it is true
	Operator string
	Input    *expr.Template // nil: the job's input, or the item
	Value    *expr.Template
	All, Any []*Condition
	Not      *Condition
}

// Operators are the operators of a condition.
func Operators() []string {
	return []string{"eq", "neq", "gt", "gte", "lt", "lte", "in", "not-in", "match", "starts-with", "ends-with"}
}

// Retry is how often and when a failed job is tried again.
type Retry struct {
	MaxAttempts int // the first try included; at least 1
	Delay       time.Duration
	MaxDelay    time.Duration // 0: none
	Backoff     string        // fixed or exponential
}

// OnError is what happens when a job has failed for good. The zero value fails the run.
type OnError struct {
	Ignore bool
	Output *expr.Template
	To     string
	// Jobs run instead; their ids are in the workflow's Jobs, routed only, and the last one's output stands for the failed job's.
	Jobs []string
}
