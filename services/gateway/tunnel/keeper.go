package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// Keeper keeps one tunnel open for as long as it is told to.
type Keeper struct {
	Spec    Spec
	Driver  Driver
	Policy  Policy
	Probe   func(ctx context.Context, url string) error // through the public URL back to this process
	Target  func(ctx context.Context) error             // whether something listens on the local port
	Changed func(s Status)                              // told of every change, from one goroutine
	Log     *slog.Logger
	Every   time.Duration // how often a tunnel that is up is probed; zero: ProbeEvery
}

// Bounds of a keeper.
const (
	ProbeEvery   = 30 * time.Second
	probeFirst   = 250 * time.Millisecond // while a new URL is not proved: doubling
	probeSlowest = 10 * time.Second
	targetEvery  = 5 * time.Second
	targetTime   = 2 * time.Second
	// A tunnel that worked and whose probes fail so often is opened anew; one that never has is given longer: names
	// need time to spread, and opening it again rarely helps.
	restartAfter    = 4
	restartUnproved = 30
	// jump is how far the clock on the wall may leave the other one before the machine must have slept.
	jump = 10 * time.Second
)

var errRestart = &Error{Class: Remote, Message: "the public URL does not lead here any more: opening the tunnel anew"}

// Run keeps the tunnel until ctx ends, from the status given, and gives the last one.
func (k *Keeper) Run(ctx context.Context, from Status) Status {
	r := &keeping{Keeper: k, status: from}
	r.apply(Event{Kind: Began})
	for {
		err := r.hold(ctx)
		if ctx.Err() != nil {
			return r.status
		}
		e := Classify(err)
		pause := k.Policy.After(e, r.status.Attempts)
		r.apply(Event{Kind: Closed, Err: e, RetryIn: pause})
		if !r.rest(ctx, pause) {
			return r.status
		}
	}
}

// keeping is one Run.
type keeping struct {
	*Keeper
	status Status
}

func (r *keeping) apply(e Event) {
	e.At = time.Now()
	before := r.status
	r.status = Next(before, e)
	if r.status != before {
		r.Changed(r.status)
	}
}

// rest waits for the pause, or for ever when it is negative; less when the machine has slept meanwhile.
func (r *keeping) rest(ctx context.Context, pause time.Duration) bool {
	if pause < 0 {
		<-ctx.Done()
		return false
	}
	over := time.NewTimer(pause)
	defer over.Stop()
	look := time.NewTicker(targetEvery)
	defer look.Stop()
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-over.C:
			return true
		case <-look.C:
			if slept(began, time.Now()) {
				r.status.Attempts = 0
				return true
			}
		}
	}
}

// slept tells whether the machine was asleep between two times: the clock on the wall went on, the other did not.
func slept(from, to time.Time) bool {
	return to.Round(0).Sub(from.Round(0))-to.Sub(from) > jump
}

// hold opens the tunnel once and watches it until it fails or ctx ends. Everything that it starts has ended when it returns.
func (r *keeping) hold(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{
		seen: make(chan Observation), ended: make(chan error, 1), probed: make(chan probe, 1), targeted: make(chan error, 1),
		every: r.Every, last: time.Now(),
	}
	if w.every <= 0 {
		w.every = ProbeEvery
	}
	go func() { w.ended <- r.drive(ctx, w.seen) }()
	probes := time.NewTimer(w.every)
	probes.Stop()
	look := time.NewTicker(targetEvery)
	defer func() {
		probes.Stop()
		look.Stop()
	}()
	r.checkTarget(ctx, w)
	for {
		select {
		case o := <-w.seen:
			r.observe(o, w, probes)
		case <-probes.C:
			r.startProbe(ctx, w)
		case p := <-w.probed:
			w.probing = false
			r.judge(p, w, probes, cancel)
		case <-look.C:
			if now := time.Now(); slept(w.last, now) {
				probes.Reset(0)
			}
			w.last = time.Now()
			r.checkTarget(ctx, w)
		case err := <-w.targeted:
			w.targeting = false
			r.target(err)
		case err := <-w.ended:
			cancel(nil)
			w.settle()
			if cause := context.Cause(ctx); errors.Is(cause, errRestart) {
				return errRestart
			}
			return err
		}
	}
}

// watch is what goes on around one connection.
type watch struct {
	seen      chan Observation
	ended     chan error
	probed    chan probe
	targeted  chan error
	probing   bool
	targeting bool
	every     time.Duration
	pause     time.Duration // before the next probe of what is not proved
	proved    bool          // on this connection
	last      time.Time
}

// probe is a probe's result.
type probe struct {
	url string
	err error
}

// settle waits for the checks that are under way; their context has ended.
func (w *watch) settle() {
	if w.probing {
		<-w.probed
	}
	if w.targeting {
		<-w.targeted
	}
}

// drive runs the driver; a panic in it is the end of this tunnel's connection and not of the process.
func (r *keeping) drive(ctx context.Context, seen chan<- Observation) (err error) {
	defer func() {
		if v := recover(); v != nil {
			r.Log.Error("a tunnel's driver panicked", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			err = &Error{Class: Remote, Message: fmt.Sprintf("the driver failed: %v", v), Hint: "please report this"}
		}
	}()
	err = r.Driver.Run(ctx, r.Spec, func(o Observation) {
		select {
		case seen <- o:
		case <-ctx.Done():
		}
	})
	if err == nil {
		err = &Error{Class: Remote, Message: "the tunnel was closed by the other side"}
	}
	return err
}

func (r *keeping) observe(o Observation, w *watch, probes *time.Timer) {
	if o.SignedIn != "" {
		return // the tunnel is not open yet
	}
	if o.Err != nil {
		r.apply(Event{Kind: Dropped, Err: o.Err})
		probes.Stop()
		return
	}
	r.apply(Event{Kind: Opened, URL: o.URL, Address: o.Address})
	w.pause, w.proved = probeFirst, false
	probes.Reset(0)
}

func (r *keeping) startProbe(ctx context.Context, w *watch) {
	if w.probing || r.status.Candidate == "" {
		return
	}
	w.probing = true
	url := r.status.Candidate
	go func() { w.probed <- probe{url: url, err: r.Probe(ctx, url)} }()
}

func (r *keeping) judge(p probe, w *watch, probes *time.Timer, cancel context.CancelCauseFunc) {
	switch {
	case r.status.Candidate == "":
		return // dropped meanwhile; it is probed when it is back
	case p.url != r.status.Candidate:
		probes.Reset(0) // another URL meanwhile
		return
	case p.err == nil:
		w.proved, w.pause = true, probeFirst
		r.apply(Event{Kind: Proved})
		probes.Reset(w.every)
		return
	}
	r.apply(Event{Kind: Unproved, Err: p.err})
	limit := restartUnproved
	if w.proved || p.url == r.status.URL {
		limit = restartAfter
	}
	if r.status.Unproved >= limit {
		cancel(errRestart)
		return
	}
	probes.Reset(w.pause)
	w.pause = min(2*w.pause, probeSlowest)
}

func (r *keeping) checkTarget(ctx context.Context, w *watch) {
	if w.targeting || r.Target == nil {
		return
	}
	w.targeting = true
	go func() {
		ctx, cancel := context.WithTimeout(ctx, targetTime)
		defer cancel()
		w.targeted <- r.Target(ctx)
	}()
}

func (r *keeping) target(err error) {
	switch {
	case err == nil && r.status.TargetDown != "":
		r.apply(Event{Kind: TargetBack})
	case err != nil && err.Error() != r.status.TargetDown:
		r.apply(Event{Kind: TargetLost, Err: err})
	}
}
