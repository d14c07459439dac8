package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/nats-io/nuid"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

// poison is an error that comes of the message or the run itself: it will not pass by waiting.
type poison struct {
	err     error
	run     string // that cannot be carried on; "" where no run is known
	trigger string // what was to carry it on
}

func (p *poison) Error() string { return p.err.Error() }
func (p *poison) Unwrap() error { return p.err }

func isPoison(err error) bool {
	if _, ok := errors.AsType[*poison](err); ok {
		return true
	}
	// What lies in NATS and cannot be read is no better the next time. Faults of NATS itself are of other codes.
	f, ok := errors.AsType[*fault.Error](err)
	return ok && f.Code == fault.Internal
}

// guard turns a panic into poison: one bad run must not take the others down.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &poison{err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	return f()
}

// blame notes on poison which run it comes of.
func (a *activation) blame(err error) error {
	if !isPoison(err) {
		return err
	}
	return &poison{err: err, run: a.runID, trigger: a.trigger}
}

// giveUp parks a message that cannot be processed, with the reason, ends its run, and lets it go.
func (r *Runner) giveUp(ctx context.Context, d *bus.Delivery, reason error) {
	r.log.Error("given up", slog.String("subject", d.Subject), slog.Int("deliveries", d.Deliveries), slog.Any("error", reason),
		telemetry.TraceID(d.Header[subject.HeaderTrace]))
	err := r.bury(ctx, &d.Stored, reason)
	if err == nil {
		err = r.abandon(ctx, d, reason)
	}
	if err != nil {
		r.log.Warn("will try again to give up", slog.String("subject", d.Subject), slog.Any("error", err))
		r.answered(d, d.Nak(backoff(d.Deliveries)))
		return
	}
	r.answered(d, d.Term(firstLine(reason)))
}

// bury stores a message and the reason in the stream of what could not be processed.
func (r *Runner) bury(ctx context.Context, m *bus.Stored, reason error) error {
	kind, id := subject.Kind(m.Subject)
	headers := make(map[string][]string, len(m.Header))
	for k, v := range m.Header {
		headers[k] = []string{v}
	}
	payload := m.Data
	if ref := bus.Reference(m.Header); ref != nil {
		// The object goes with the message that refers to it, long before the dead letter.
		switch data, err := r.bus.Objects(ref.Bucket).Get(ctx, ref); {
		case err == nil:
			payload = data
			for _, name := range []string{subject.HeaderObject, subject.HeaderObjectSize, subject.HeaderObjectDigest} {
				delete(headers, name)
			}
		case !lasting(err):
			return fmt.Errorf("bury %s: %w", m.Subject, err)
		}
	}
	dead := event.Dead{Subject: m.Subject, Reason: cut(reason.Error(), maxReason), At: time.Now(), Headers: headers, Payload: payload}
	if len(payload) > r.bus.Inline()/2 { // it is written in base64
		ref, err := r.bus.Objects(subject.BucketPayloads).Put(ctx, "dead."+nuid.Next(), payload, 0)
		if err != nil {
			return fmt.Errorf("bury %s: %w", m.Subject, err)
		}
		dead.Payload, dead.Object = nil, ref
	}
	data, err := json.Marshal(dead)
	if err != nil {
		return fmt.Errorf("bury %s: %w", m.Subject, err)
	}
	if plain, err := subject.Unescape(id); err == nil {
		id = plain
	}
	if subject.Long(id, subject.MaxID) {
		id = "long"
	}
	_, err = r.bus.Publish(ctx, &bus.Message{
		Subject: subject.Dead(kind, id), Data: data, Header: bus.Header{subject.HeaderReason: firstLine(reason)},
		MsgID: fmt.Sprintf("%s:%d", m.Subject, m.Seq),
	})
	if err != nil {
		return fmt.Errorf("bury %s: %w", m.Subject, err)
	}
	r.metrics.dead.WithLabelValues(kind).Inc()
	return nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return cut(line, maxLine)
}

// Bounds of a reason, and of its first line, which travels in a header.
const (
	maxReason = 64 << 10
	maxLine   = 2 << 10
)

func cut(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
