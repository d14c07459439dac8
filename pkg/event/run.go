package event

import (
	"encoding/json"
	"time"
)

// Status of a run or of a job.
type Status string

// The statuses of a run; a job is pending, running, waiting, completed, failed, cancelled or skipped.
const (
	StatusPending   Status = "pending"
	StatusRunning   Status = "running"
	StatusWaiting   Status = "waiting"
	StatusCompleted Status = "completed"
	StatusFailed    Status = "failed"
	StatusCancelled Status = "cancelled"
	StatusRejected  Status = "rejected"
	StatusSkipped   Status = "skipped"
)

// Ended tells whether nothing will happen any more.
func (s Status) Ended() bool {
	switch s {
	case StatusCompleted, StatusFailed, StatusCancelled, StatusRejected, StatusSkipped:
		return true
	default:
		return false
	}
}

// Run is the run document: the value of a key in the bucket runs, and all that the engine knows of a run. A new field, of
// any type below, is written in append.go too: a test tells which is not.
type Run struct {
	ID         string          `json:"id"`
	Workflow   string          `json:"workflow"`
	Definition string          `json:"definition"` // key in the bucket definitions
	Status     Status          `json:"status"`
	Input      json.RawMessage `json:"input,omitempty"`
	Output     json.RawMessage `json:"output,omitempty"`
	Error      *RunError       `json:"error,omitempty"`
	CreatedAt  time.Time       `json:"created_at"` // when the server took the request
	StartedAt  time.Time       `json:"started_at,omitzero"`
	EndedAt    time.Time       `json:"ended_at,omitzero"`
	Jobs       map[string]*Job `json:"jobs,omitempty"`

	// Request is the sequence of the run request in the stream RUNS: it tells a redelivery from a second request.
	Request uint64 `json:"request,omitempty"`
	ReplyTo string `json:"reply_to,omitempty"`
	// Parent is the wait that this run's end is a callback for: it was asked for by a job of another run.
	Parent string `json:"parent,omitempty"`
	Trace  string `json:"trace,omitempty"`
	// Turn is the run's place among those of its workflow, where the file bounds how many go at once: the run waits
	// for it before it starts.
	Turn *Turn `json:"turn,omitempty"`
	// EndedBy names the message on whose delivery the run ended.
	EndedBy string `json:"ended_by,omitempty"`
	// RetriedBy names the last message that asked for the run to be tried again, and RetriedAt tells when it went on last.
	RetriedBy string    `json:"retried_by,omitempty"`
	RetriedAt time.Time `json:"retried_at,omitzero"`
	// Version of this document's form.
	Version int `json:"version"`
	// Object is set in a stub: the document is too large for a message, and lies there.
	Object *Object `json:"object,omitempty"`
}

// Turn is a run's place among those of its workflow.
type Turn struct {
	// Number counts the run's turns: one that is tried again after its end waits for another.
	Number int `json:"number"`
	// Key is the value whose runs share the limit.
	Key json.RawMessage `json:"key,omitempty"`
	// Since is when the run was queued, Deadline until when it waits, and GrantedAt when its turn came.
	Since     time.Time `json:"since"`
	Deadline  time.Time `json:"deadline"`
	GrantedAt time.Time `json:"granted_at,omitzero"`
	// Request is the place of the request that asked for it: the order of the queue.
	Request uint64 `json:"request,omitempty"`
	// Trigger names the message that asked for it.
	Trigger string `json:"trigger,omitempty"`
}

// Queued tells whether the run waits for its turn.
func (r *Run) Queued() bool {
	return r.Turn != nil && r.Turn.GrantedAt.IsZero() && !r.Status.Ended()
}

// Job is one job of a run.
type Job struct {
	Status   Status          `json:"status"`
	Attempts []*Attempt      `json:"attempts,omitempty"`
	Input    json.RawMessage `json:"input,omitempty"`
	Output   json.RawMessage `json:"output,omitempty"`
	Progress json.RawMessage `json:"progress,omitempty"`
	Error    *RunError       `json:"error,omitempty"`
	// RetryAt is when the next attempt is due.
	RetryAt time.Time `json:"retry_at,omitzero"`

	// Round counts how often the job was begun: more than once where jobs route back to it. Earlier rounds' attempts are
	// those before First.
	Round int `json:"round,omitempty"`
	First int `json:"first,omitempty"`
	// Called is set while a job that another has gone on to waits for what it needs.
	Called bool `json:"called,omitempty"`
	// Items is how many items a for-each has; each is a job of its own, <job>.i<index>.
	Items int `json:"items,omitempty"`
}

// Attempt is one try at a job.
type Attempt struct {
	Number    int        `json:"number"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   time.Time  `json:"ended_at,omitzero"`
	Error     *RunError  `json:"error,omitempty"`
	Requests  []Request  `json:"requests,omitempty"`
	Wait      *WaitState `json:"wait,omitempty"`
	// More are the further ids of an attempt that waits for several.
	More []*WaitState `json:"more_waits,omitempty"`

	// Trigger names the message on whose delivery this attempt's commands are performed; until
	// that message is acknowledged, its redelivery performs again what has no result here.
	Trigger string `json:"trigger,omitempty"`
	// Response is kept while the output still needs it, Output when it does not.
	Response json.RawMessage `json:"response,omitempty"`
	Output   json.RawMessage `json:"output,omitempty"`
	// Due is when a delay, or the pause before the next poll, is over. Polls counts the polls.
	Due   time.Time `json:"due,omitzero"`
	Polls int       `json:"polls,omitempty"`
	// SubRun is the run that a job of type workflow has asked for.
	SubRun string `json:"sub_run,omitempty"`
}

// Request is one request to an outside service. Secrets in it are masked.
type Request struct {
	Method     string    `json:"method"`
	URL        string    `json:"url"`
	Status     int       `json:"status,omitempty"`
	At         time.Time `json:"at"`
	DurationMS int64     `json:"duration_ms"`
	Error      string    `json:"error,omitempty"`
	// Addresses are the public URLs that the request handed out, by what the file calls them: "gateway:8090.public_url".
	Addresses map[string]string `json:"addresses,omitempty"`
}

// WaitState is an attempt's wait for a callback.
type WaitState struct {
	ID        string     `json:"id"`
	Since     time.Time  `json:"since"`
	Deadline  time.Time  `json:"deadline"`
	ResumedBy *ResumedBy `json:"resumed_by,omitempty"`

	// Used is the sequence of the last callback that the wait has taken, progress included.
	Used        uint64 `json:"used,omitempty"`
	AcceptEarly string `json:"accept_early,omitempty"`
	// Quorum is how many callbacks end the attempt's wait where that is not one; Results are those that have come for
	// this id.
	Quorum    int               `json:"quorum,omitempty"`
	Results   []json.RawMessage `json:"results,omitempty"`
	Heartbeat time.Duration     `json:"heartbeat,omitempty"` // how far progress moves the deadline
}

// ResumedBy is what ended a wait.
type ResumedBy struct {
	Seq      uint64    `json:"seq,omitempty"` // place in the stream of waits
	Outcome  Outcome   `json:"outcome,omitempty"`
	Endpoint string    `json:"endpoint,omitempty"`
	At       time.Time `json:"at"`
	Timeout  bool      `json:"timeout,omitempty"`
	Early    bool      `json:"early,omitempty"` // the callback was there before the wait
}

// RunError says what went wrong in a run.
type RunError struct {
	Message string          `json:"message"`
	Code    string          `json:"code"`
	Job     string          `json:"job,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"` // a failed callback's mapped result, or a refused response's body
}
