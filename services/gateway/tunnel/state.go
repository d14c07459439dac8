package tunnel

import (
	"time"
)

// State is how a tunnel is.
type State string

// The states.
const (
	Starting     State = "starting"     // not proved to work yet
	Up           State = "up"           // a request through the public URL came back
	Degraded     State = "degraded"     // open, but something between the public and the target is broken
	Reconnecting State = "reconnecting" // was up, is not, and is being mended
	Failed       State = "failed"       // needs a person
	Standby      State = "standby"      // another process holds it
)

// healthyAfter is how long a tunnel must have worked before its failures are forgotten.
const healthyAfter = time.Minute

// Status is all that is known of a tunnel.
type Status struct {
	State State
	Since time.Time // of State
	Class Class     // of Error
	Error string
	Hint  string

	URL, Address string // proved last
	PreviousURL  string
	Generation   uint64 // changes with URL

	Attempts  int // failures in a row
	NextRetry time.Time

	Candidate        string // opened, not proved
	CandidateAddress string
	Unproved         int       // probes failed in a row
	HealthySince     time.Time // of the proof, zero when it does not work
	TargetDown       string    // why nothing can be reached on the local port
}

// Kind is a kind of event.
type Kind int

// The kinds of event.
const (
	Began      Kind = iota // this process holds the tunnel now
	Opened                 // the driver has opened it at URL
	Proved                 // a probe came back
	Unproved               // a probe did not come back
	Dropped                // the driver has lost it and connects again
	Closed                 // the driver has given up; RetryIn says what comes next
	TargetLost             // nothing listens on the local port
	TargetBack             // something does again
	Resigned               // another process holds it
)

// Event is something that happened to a tunnel.
type Event struct {
	Kind    Kind
	At      time.Time
	URL     string
	Address string
	Err     error
	RetryIn time.Duration // of Closed; negative: never
}

// Next gives the status after an event. It is the whole state machine.
func Next(s Status, e Event) Status {
	before := s.State
	switch e.Kind {
	case Began:
		s = Status{URL: s.URL, Address: s.Address, PreviousURL: s.PreviousURL, Generation: s.Generation, Since: s.Since, State: Starting, TargetDown: s.TargetDown}
	case Opened:
		s.Candidate, s.CandidateAddress, s.Unproved, s.NextRetry = e.URL, e.Address, 0, time.Time{}
		if s.works() && e.URL != s.URL {
			s.State, s.HealthySince = Reconnecting, time.Time{}
			s.explain(&Error{Class: Remote, Message: "the public URL has changed and is not proved yet"})
		}
	case Proved:
		s = proved(s, e.At)
	case Unproved:
		s.Unproved++
		s.explain(e.Err)
		if s.State == Up {
			s.State = Degraded
		}
		s.HealthySince = time.Time{}
	case Dropped:
		s.lost(e.Err)
	case Closed:
		s.lost(e.Err)
		s.Attempts++
		if e.RetryIn < 0 {
			s.State = Failed
		} else {
			s.NextRetry = e.At.Add(e.RetryIn)
		}
	case TargetLost:
		s.TargetDown = e.Err.Error()
		if s.State == Up {
			s.State = Degraded
		}
		if s.State == Degraded && s.Unproved == 0 {
			s.targetDown()
		}
	case TargetBack:
		s.TargetDown = ""
		if s.State == Degraded && s.Unproved == 0 {
			s.State = Up
			s.explain(nil)
		}
	case Resigned:
		s = Status{URL: s.URL, Address: s.Address, PreviousURL: s.PreviousURL, Generation: s.Generation, Since: s.Since, State: Standby}
	}
	if s.State != before {
		s.Since = e.At
	}
	return s
}

func proved(s Status, at time.Time) Status {
	if s.Candidate == "" {
		return s // of a connection that has gone meanwhile
	}
	if s.Candidate != s.URL {
		s.PreviousURL, s.URL = s.URL, s.Candidate
		s.Generation++
	}
	s.Address, s.Unproved, s.NextRetry = s.CandidateAddress, 0, time.Time{}
	if s.HealthySince.IsZero() {
		s.HealthySince = at
	}
	if at.Sub(s.HealthySince) >= healthyAfter {
		s.Attempts = 0
	}
	s.State = Up
	s.explain(nil)
	if s.TargetDown != "" {
		s.State = Degraded
		s.targetDown()
	}
	return s
}

// works tells whether the tunnel is open and was proved.
func (s *Status) works() bool { return s.State == Up || s.State == Degraded }

// lost is a tunnel that is open no more. One that has never worked is still starting.
func (s *Status) lost(err error) {
	s.Candidate, s.CandidateAddress, s.Unproved, s.HealthySince = "", "", 0, time.Time{}
	s.explain(err)
	if s.works() {
		s.State = Reconnecting
	}
}

func (s *Status) targetDown() {
	s.explain(&Error{
		Class: Config, Message: "upstream_down: " + s.TargetDown,
		Hint: "start what is to listen there; the tunnel stays open",
	})
}

func (s *Status) explain(err error) {
	if err == nil {
		s.Class, s.Error, s.Hint = "", "", ""
		return
	}
	e := Classify(err)
	s.Class, s.Error, s.Hint = e.Class, e.Message, e.Hint
}
