// Package event defines what travels in Switchback's subjects and lies in its buckets.
package event

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Outcome is what a callback says of its wait.
type Outcome string

// The outcomes. Progress leaves the wait standing.
const (
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
	Progress  Outcome = "progress"
)

// ParseOutcome reads the header Switchback-Outcome; absent means Succeeded.
func ParseOutcome(s string) (Outcome, error) {
	switch o := Outcome(s); o {
	case "":
		return Succeeded, nil
	case Succeeded, Failed, Progress:
		return o, nil
	default:
		return "", fmt.Errorf("outcome %q is not succeeded, failed or progress", s)
	}
}

// Callback is a message on callback.<id>. Result is its payload; the rest are headers.
type Callback struct {
	ID         string
	Outcome    Outcome
	Result     json.RawMessage // JSON; a payload that is not JSON is carried as a JSON string; empty means null
	Error      string          // message of a failure
	Endpoint   string          // where it came in, empty when published by a NATS client
	ReceivedAt time.Time       // when a listener received it; zero when published by a NATS client
	DeliveryID string          // becomes Nats-Msg-Id: the sender's own id of this delivery
	Trace      string          // W3C traceparent
	// Object is where the result lies when it is too large for a message; Result is empty then.
	Object   *Object
	ReplayOf uint64 // the record of the request that was mapped again to make it

	Seq      uint64    // place in the stream of waits; zero before it is stored
	StoredAt time.Time // when the server took it
}

// Wait is the value of a key in the bucket waits, and the payload of the timeout that ends it. A new field is written in
// append.go too.
type Wait struct {
	ID       string    `json:"id"`
	Run      string    `json:"run"`
	Job      string    `json:"job"`
	Attempt  int       `json:"attempt"`
	Since    time.Time `json:"since"`
	Deadline time.Time `json:"deadline"`
	// Used is the sequence of the last callback with this id that does not count any more.
	Used uint64 `json:"used,omitempty"`
	// Timer tells a wait for time alone (a delay, a pause before a retry) from one for a callback.
	Timer bool `json:"timer,omitempty"`
	// Reason is why a run is cancelled, of the timer that makes sure that it is.
	Reason string `json:"reason,omitempty"`
	// Trace is the traceparent of what made the wait: a header of its message, and so of its timeout.
	Trace string `json:"-"`
}

// Own tells whether the id is the attempt's own, which no other wait can have.
func (w *Wait) Own() bool { return w.ID == InvocationID(w.Run, w.Job, w.Attempt) }

// InvocationID is an attempt's own id: of its wait, and the Idempotency-Key of its request.
func InvocationID(runID, job string, attempt int) string {
	if attempt <= 1 {
		return runID + "." + job
	}
	return runID + "." + job + "." + strconv.Itoa(attempt)
}

// RunRequest is a message on run.request.<workflow>. Input is its payload; the rest are headers.
type RunRequest struct {
	RunID    string
	Workflow string
	Input    json.RawMessage // a JSON object, or empty
	ReplyTo  string          // subject that the final run document is published on
	MsgID    string          // Nats-Msg-Id
	Parent   string          // the wait that the run's end is a callback for
	// Definition is the key of the definition to run by; empty: the runner's own. A sub-run has its parent's.
	Definition string
	// Retry asks for no new run, but for the failed jobs of the run RunID to be run again.
	Retry bool
	Trace string
	// Object is where the input lies when it is too large for a message; Input is empty then.
	Object *Object

	Seq         uint64    // place in the stream of requests
	RequestedAt time.Time // when the server took it
}

// GatewayStatus is the value of a key in the bucket gateways; the key is the local port.
type GatewayStatus struct {
	ID            string    `json:"id,omitempty"`
	Port          int       `json:"port"`
	Driver        string    `json:"driver"` // ngrok, cloudflare or ssh
	PublicURL     string    `json:"public_url,omitempty"`
	PublicAddress string    `json:"public_address,omitempty"`
	Status        string    `json:"status"` // starting, up, degraded, reconnecting, failed, standby
	Since         time.Time `json:"since"`
	Error         string    `json:"error,omitempty"`
	Generation    uint64    `json:"generation,omitempty"`
	Attempts      int       `json:"attempts,omitempty"`
	NextRetry     time.Time `json:"next_retry,omitzero"`
}

// GatewayUp is the status of a gateway whose URL has been proved to work.
const GatewayUp = "up"

// Notice names: run.event.<run id>.<name>.
const (
	RunStarted   = "started"
	JobStarted   = "job_started"
	JobWaiting   = "job_waiting"
	JobProgress  = "job_progress"
	JobCompleted = "job_completed"
	JobFailed    = "job_failed"
	JobRetrying  = "job_retrying"
	RunCompleted = "completed"
	RunFailed    = "failed"
	RunCancelled = "cancelled"
)

// Notice is the payload of a run.event message: live, not stored; the run document is the truth. A new field is written in
// append.go too.
type Notice struct {
	Run      string          `json:"run"`
	Workflow string          `json:"workflow"`
	Event    string          `json:"event"`
	At       time.Time       `json:"at"`
	Job      string          `json:"job,omitempty"`
	Attempt  int             `json:"attempt,omitempty"`
	Wait     *WaitState      `json:"wait,omitempty"`
	Progress json.RawMessage `json:"progress,omitempty"`
	Output   json.RawMessage `json:"output,omitempty"`
	Error    *RunError       `json:"error,omitempty"`
	RetryAt  time.Time       `json:"retry_at,omitzero"`
	// Cut tells that values are left out, because they are too large for a message.
	Cut bool `json:"cut,omitempty"`
}

// Dead is the payload of a message in the stream of what could not be processed.
type Dead struct {
	Subject string              `json:"subject"`
	Reason  string              `json:"reason"`
	At      time.Time           `json:"at"`
	Headers map[string][]string `json:"headers,omitempty"`
	Payload []byte              `json:"payload,omitempty"` // base64 in JSON: it need not be text
	Object  *Object             `json:"object,omitempty"`  // where the payload lies, when it is too large for a message
}
