package engine

import (
	"encoding/json"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
)

// Event is something that has happened to a run.
type Event interface{ at() time.Time }

// Requested begins a run.
type Requested struct {
	Request    event.RunRequest
	Definition string // key of the definition that the run keeps to its end
	Trigger    string
	At         time.Time
}

// Redelivered says that the message Trigger has come again: what it set off and has no result is done again.
type Redelivered struct {
	Trigger string
	Retry   bool // the run is about to be tried again: who waits for its end is told of the next one
	At      time.Time
}

// Acted is the end of an invocation's request.
type Acted struct {
	Job     string
	Attempt int
	Trigger string
	At      time.Time

	Input    json.RawMessage // as evaluated
	Requests []event.Request
	// Output is the component's output as far as it is known: for an invocation that waits it is overlaid with
	// the callback's result. Response is given instead where the output needs the result.
	Output   json.RawMessage
	Response json.RawMessage
	Poll     int           // the poll whose end it is; 0: the request's itself
	Pending  bool          // the poll says that the service is still at it
	After    time.Duration // and is not to be asked again sooner
	Wait     *Wait         // the invocation is done when this has ended; nil: done
	Err      *Error        // it has failed
}

// Wait is an invocation's wish to wait for a callback.
type Wait struct {
	ID          string
	Timeout     time.Duration // from now; 0: the invocation's own limit
	AcceptEarly string
	More        []string // further ids
	Poll        bool     // ask instead of waiting to be called back
	Quorum      int      // callbacks that end it; 0: one, or of several ids all
	Heartbeat   time.Duration
}

// Error is a failure of an attempt.
type Error struct {
	Code      string
	Message   string
	Data      json.RawMessage
	Permanent bool          // trying again cannot help
	After     time.Duration // not to be tried again sooner
}

// CalledBack is a callback for one of the run's waits.
type CalledBack struct {
	Callback event.Callback
	Early    bool // it was there before the wait
	Trigger  string
	At       time.Time
}

// Expired is the end of a wait's or a timer's time. Seq is the place of the message that says so. Rung: it is the run's turn,
// and somebody says that it has come.
type Expired struct {
	ID      string
	Seq     uint64
	Rung    bool
	Trigger string
	At      time.Time
}

// Refused says that a job's wait could not be made, for good.
type Refused struct {
	ID      string
	Job     string
	Attempt int // whose wait it was; 0: the last one's
	Err     Error
	Trigger string
	At      time.Time
}

// Overgrown says that the run's document has become larger than can be kept.
type Overgrown struct {
	Message string
	Trigger string
	At      time.Time
}

// Abandoned says that the message Trigger, which was to carry the run on, was given up. Like Cancelled it can be applied
// without the run's definition.
type Abandoned struct {
	Message string
	Trigger string
	At      time.Time
}

// Retried makes a run that has failed, or was cancelled, go on with the jobs that did not complete.
type Retried struct {
	Request uint64    // the place of the request that asks for it
	Asked   time.Time // when the server took it; zero: not known
	Trigger string
	At      time.Time
}

// Cancelled asks for the run's end.
type Cancelled struct {
	Reason string
	Asked  time.Time // when; a run that was tried again since goes on. Zero: just now
	Again  bool      // jobs were let go before: only what may have come up beside it is ended
	At     time.Time
}

func (e Requested) at() time.Time   { return e.At }
func (e Redelivered) at() time.Time { return e.At }
func (e Acted) at() time.Time       { return e.At }
func (e CalledBack) at() time.Time  { return e.At }
func (e Expired) at() time.Time     { return e.At }
func (e Refused) at() time.Time     { return e.At }
func (e Overgrown) at() time.Time   { return e.At }
func (e Abandoned) at() time.Time   { return e.At }
func (e Retried) at() time.Time     { return e.At }
func (e Cancelled) at() time.Time   { return e.At }

// Error gives the message: an Error travels as an error through what performs invocations.
func (e *Error) Error() string { return e.Message }
