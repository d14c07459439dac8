package runner

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/runner/engine"
	"github.com/switchbackhq/switchback/services/runner/journal"
)

// request begins the run that a message asks for, or goes on with it when the message comes again.
func (r *Runner) request(ctx context.Context, d *bus.Delivery) error {
	req, err := bus.DecodeRunRequest(&d.Stored)
	if err != nil {
		return r.reject(ctx, d, &event.RunRequest{Workflow: d.Subject, Seq: d.Seq, RequestedAt: d.Time}, err)
	}
	if subject.Long(req.RunID, subject.MaxRunID) || subject.Long(req.Parent, subject.MaxID) {
		req.RunID, req.Parent = "", ""
		return r.reject(ctx, d, req, fmt.Errorf("a run's id has %d bytes at most, and this one is longer", subject.MaxRunID))
	}
	if req.Retry {
		return r.retry(ctx, d, req)
	}
	named := req.RunID != ""
	if !named {
		req.RunID = runID(r.seed, req.RequestedAt, req.Seq)
	}
	if req.Object != nil {
		return r.requestLarge(ctx, d, req, named)
	}
	return r.start(ctx, d, req, named)
}

// start begins a run, or goes on with it, when its input is at hand. The asker may have named the run.
func (r *Runner) start(ctx context.Context, d *bus.Delivery, req *event.RunRequest, named bool) (err error) {
	definition := r.definitions.current()
	if req.Definition != "" {
		if definition, err = r.definitions.get(ctx, req.Definition); isPoison(err) {
			err = &poison{err: err, run: req.RunID, trigger: requestTrigger(d)}
		}
		if err != nil {
			return err
		}
	}
	workflow := definition.doc.Workflow(req.Workflow)
	if workflow == nil {
		return r.reject(ctx, d, req, fmt.Errorf("there is no workflow %q%s", req.Workflow, definition.known(req.Workflow)))
	}
	if req.Input, err = object(req.Input); err != nil {
		return r.reject(ctx, d, req, err)
	}
	if req.Input, err = engine.CheckInput(workflow, req.Input); err != nil {
		return r.reject(ctx, d, req, err)
	}
	a := r.begin(ctx, req.RunID, requestTrigger(d), leader)
	defer a.end()
	a.request, a.lastTry = d, d.Deliveries >= r.cfg.MaxDeliveries
	a.definition = definition
	if r.tracer != nil {
		req.Trace = r.traceparent(ctx)
		a.traceRun(&event.Run{ID: req.RunID, Workflow: workflow.ID})
	}
	now := time.Now()
	// A run of this id can be there only when the message has come before, or when the asker has named the run.
	if named || d.Deliveries > 1 {
		run, rev, err := r.journal.Load(ctx, req.RunID)
		if err != nil {
			return err
		}
		if run != nil {
			return a.again(run, rev, req.Seq, now)
		}
	}
	// Two requests may name one run at the same moment: the document decides before anything is done.
	a.saveFirst = named && !alone(req) || req.Parent != ""
	r.metrics.started.WithLabelValues(workflow.ID).Inc()
	err = a.handle(engine.Requested{Request: *req, Definition: definition.hash, Trigger: a.trigger, At: now})
	if errors.Is(err, errTaken) {
		run, rev, err := r.journal.Load(ctx, req.RunID)
		if err != nil || run == nil {
			return err
		}
		return a.again(run, rev, req.Seq, now)
	}
	return err
}

// alone tells that no other request names the run: its id was made for this one, as our own askers do, and is the message's,
// too, so that the stream has it once.
func alone(req *event.RunRequest) bool {
	_, err := ulid.ParseStrict(req.RunID)
	return err == nil && req.MsgID == req.RunID
}

func requestTrigger(d *bus.Delivery) string { return "request:" + strconv.FormatUint(d.Seq, 10) }

// again goes on with a run that was begun before: by this same request, or by another that named it.
func (a *activation) again(run *event.Run, rev journal.Revision, seq uint64, now time.Time) error {
	if run.Request != seq {
		a.r.metrics.duplicates.Inc()
		return nil
	}
	if run.Status == event.StatusRejected { // it has no definition to go on by
		return a.r.rejected(a.ctx, run, now)
	}
	if err := a.adopt(run, rev); err != nil {
		return err
	}
	switch {
	case run.Parent == "":
	case !run.Status.Ended():
		if err := a.wanted(); err != nil { // whoever began it may not have come to asking
			return err
		}
	case run.EndedBy == engine.CancelTrigger: // or not to the end of what follows from the answer
		if err := a.handle(engine.Redelivered{Trigger: engine.CancelTrigger, At: now}); err != nil {
			return err
		}
	}
	return a.handle(engine.Redelivered{Trigger: a.trigger, At: now})
}

// retry makes an ended run go on with the jobs that did not complete.
func (r *Runner) retry(ctx context.Context, d *bus.Delivery, req *event.RunRequest) error {
	run, rev, err := r.journal.Load(ctx, req.RunID)
	if err != nil {
		return err
	}
	if run == nil || run.Status == event.StatusRejected {
		return r.bury(ctx, &d.Stored, fmt.Errorf("there is no run %q to be tried again", req.RunID))
	}
	a := r.begin(ctx, req.RunID, requestTrigger(d), apart) // whoever ends the run at the same moment tells of that end
	defer a.end()
	a.request, a.lastTry = d, d.Deliveries >= r.cfg.MaxDeliveries
	if err := a.adopt(run, rev); err != nil {
		return err
	}
	now := time.Now()
	if d.Time.After(now) { // the server's clock tells when it was asked for; ours may be behind
		now = d.Time
	}
	if run.Status.Ended() && run.EndedBy != "" && run.EndedBy != a.trigger {
		// Whoever has ended it may have died before all that follows from its end was done, and would not find that end any more.
		if err := a.handle(engine.Redelivered{Trigger: run.EndedBy, Retry: true, At: now}); err != nil {
			return err
		}
	}
	return a.handle(engine.Retried{Request: req.Seq, Asked: req.RequestedAt, Trigger: a.trigger, At: now})
}

// object checks that an input is a JSON object; none is an empty one.
func object(input []byte) ([]byte, error) {
	input = bytes.TrimSpace(input)
	if len(input) == 0 {
		return []byte("{}"), nil
	}
	v, err := value.Decode(input)
	if err != nil {
		return nil, fmt.Errorf("the input is not JSON: %w", err)
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, errors.New("the input is not a JSON object")
	}
	return input, nil
}

// reject keeps a request that cannot be run, with the reason, where people look for it: among the runs and the dead.
func (r *Runner) reject(ctx context.Context, d *bus.Delivery, req *event.RunRequest, reason error) error {
	if req.RunID == "" {
		req.RunID = runID(r.seed, req.RequestedAt, req.Seq)
	}
	if err := r.bury(ctx, &d.Stored, reason); err != nil {
		return err
	}
	now := time.Now()
	run := unborn(req, event.StatusRejected, now, &event.RunError{Code: "rejected", Message: reason.Error()})
	run.StartedAt = now
	if _, _, err := r.journal.Save(ctx, run, 0); err != nil && !errors.Is(err, journal.ErrConflict) {
		return err
	}
	r.metrics.ended.WithLabelValues("", string(event.StatusRejected)).Inc()
	return r.rejected(ctx, run, now)
}

// unborn is the document of a run that has ended before it began.
func unborn(req *event.RunRequest, status event.Status, now time.Time, reason *event.RunError) *event.Run {
	run := &event.Run{
		ID: req.RunID, Workflow: req.Workflow, Status: status, CreatedAt: req.RequestedAt, EndedAt: now, Error: reason,
		Request: req.Seq, ReplyTo: req.ReplyTo, Parent: req.Parent, Version: engine.Version,
	}
	if input, err := value.Decode(req.Input); err == nil && input != nil {
		run.Input, _ = value.Encode(input)
	}
	return run
}

// rejected tells those who asked for a run, or watch, that it was rejected.
func (r *Runner) rejected(ctx context.Context, run *event.Run, now time.Time) error {
	if err := r.callParent(ctx, run); err != nil {
		return err
	}
	r.reply(ctx, run, nil)
	r.notify(&event.Notice{Run: run.ID, Workflow: run.Workflow, Event: event.RunFailed, At: now, Error: run.Error})
	return nil
}

// runID makes the id of a run from the place of its request: the same whenever the request is delivered, in the order of
// time, and not to be guessed without the seed.
func runID(seed []byte, at time.Time, seq uint64) string {
	mac := hmac.New(sha256.New, seed)
	_ = binary.Write(mac, binary.BigEndian, seq)
	_ = binary.Write(mac, binary.BigEndian, at.UnixNano())
	var id ulid.ULID
	_ = id.SetTime(ulid.Timestamp(at))
	_ = id.SetEntropy(mac.Sum(nil)[:10])
	return strings.ToLower(id.String())
}
