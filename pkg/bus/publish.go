package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Headers that JetStream understands.
const (
	hdrMsgID           = "Nats-Msg-Id"
	hdrTTL             = "Nats-TTL"
	hdrRollup          = "Nats-Rollup"
	hdrExpectedStream  = "Nats-Expected-Stream"
	hdrExpectedSeq     = "Nats-Expected-Last-Subject-Sequence"
	hdrExpectedSubject = "Nats-Expected-Last-Subject-Sequence-Subject"
	hdrSchedule        = "Nats-Schedule"
	hdrScheduleTarget  = "Nats-Schedule-Target"
	hdrScheduler       = "Nats-Scheduler"
	hdrScheduleNext    = "Nats-Schedule-Next"
	hdrStatus          = "Status"
)

// Codes of JetStream's errors.
const (
	codeUnavailable     = 10008 // no leader for the moment
	codeNoConsumer      = 10014
	codeNoMessage       = 10037
	codeNoStorage       = 10047
	codeTooLarge        = 10054
	codeNoStream        = 10059
	codeStreamMismatch  = 10060
	codeWrongLast       = 10071 // definite: the expectation is not met
	codeHeaderTooLarge  = 10097
	codeDuplicateBusy   = 10158 // undecided: the same MsgID is in flight
	codeExpectNotReady  = 10163 // undecided
	codeWrongLastBusy   = 10164 // undecided: a write on the expected subject is in flight
	statusNoResponders  = "503"
	noRespondersRetries = time.Second
)

var errNoStream = errors.New("nobody answers on this subject")

// apiError is an error that JetStream answered.
type apiError struct {
	Status      int    `json:"code"`
	Code        int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string {
	return e.Description + " (JetStream " + strconv.Itoa(e.Code) + ")"
}

func isAPI(err error, code int) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && e.Code == code
}

// Publish returns when JetStream holds m. Errors:
//
//   - ErrConflict: m.Expect was not met; nothing was stored by this call. After an earlier attempt that ended
//     in doubt, it may be that attempt's own message that is in the way.
//   - fault.TooLarge, fault.Invalid, fault.Forbidden: nothing was stored.
//   - fault.Unavailable, or ctx's error: not acknowledged. It may have been stored all the same: publish again
//     with the same MsgID within the server's window, or make sure that storing it twice does no harm.
//
// JetStream's undecided answers (a write in flight on the expected subject, a stream that is changing its leader)
// are waited out within ctx and Options.PublishTimeout. While disconnected it fails at once.
func (b *Bus) Publish(ctx context.Context, m *Message) (Ack, error) {
	o := takeOutgoing(m.Subject, m.Data)
	defer o.giveBack()
	for k, v := range m.Header {
		o.set(k, v)
	}
	if m.MsgID != "" {
		o.set(hdrMsgID, m.MsgID)
	}
	if m.TTL > 0 {
		o.set(hdrTTL, seconds(m.TTL))
	}
	if e := m.Expect; e != nil {
		o.set(hdrExpectedSeq, strconv.FormatUint(e.Seq, 10))
		if e.Subject != "" && e.Subject != m.Subject {
			o.set(hdrExpectedSubject, e.Subject)
		}
	}
	if m.Rollup {
		o.set(hdrRollup, "sub")
	}
	if !m.ScheduleAt.IsZero() {
		// In nanoseconds: whole seconds would fire early.
		o.set(hdrSchedule, "@at "+m.ScheduleAt.UTC().Format(time.RFC3339Nano))
		o.set(hdrScheduleTarget, m.ScheduleTarget)
	}
	if m.Unschedule != "" {
		o.set(hdrScheduler, m.Unschedule)
		o.set(hdrScheduleNext, "purge")
	}
	return b.publish(ctx, o)
}

func (b *Bus) publish(ctx context.Context, o *outgoing) (Ack, error) {
	begun := time.Now()
	deadline := begun.Add(b.o.PublishTimeout)
	var wait backoff
	for {
		m, err := b.mux.ask(ctx, &o.msg, deadline)
		if err != nil {
			return Ack{}, b.failures.note(b.publishError(err, o.msg.Subject))
		}
		a, err := parseAck(m)
		if err == nil {
			return a, nil
		}
		if !undecided(err) && (!errors.Is(err, errNoStream) || time.Since(begun) > noRespondersRetries) {
			return Ack{}, b.failures.note(b.publishError(err, o.msg.Subject))
		}
		if werr := wait.sleep(ctx, deadline); werr != nil {
			return Ack{}, b.failures.note(b.publishError(errors.Join(werr, err), o.msg.Subject))
		}
	}
}

// undecided tells an answer that says neither yes nor no: nothing was stored, and it is to be asked again.
func undecided(err error) bool {
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		return false
	}
	switch e.Code {
	case codeWrongLastBusy, codeExpectNotReady, codeDuplicateBusy, codeUnavailable:
		return true
	}
	return false
}

func (b *Bus) publishError(err error, subj string) error {
	switch {
	case errors.Is(err, ErrSubject):
		return err
	case isAPI(err, codeWrongLast):
		return ErrConflict
	case errors.Is(err, nats.ErrMaxPayload), isAPI(err, codeTooLarge), isAPI(err, codeHeaderTooLarge):
		return fault.Wrap(err, fault.TooLarge, "the message for "+subj+" is larger than NATS takes", "send less, or raise max_payload in the NATS server's configuration")
	case errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrBadHeaderMsg):
		return fault.Wrap(err, fault.Invalid, "cannot publish on "+strconv.Quote(subj), "")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("publish on %s: %w", subj, err)
	default:
		return b.unavailable(err, subj)
	}
}

// parseAck reads JetStream's answer to a publish.
func parseAck(m *nats.Msg) (Ack, error) {
	if m.Header != nil && len(m.Data) == 0 && len(m.Header[hdrStatus]) > 0 {
		if s := m.Header[hdrStatus][0]; s != statusNoResponders {
			return Ack{}, fmt.Errorf("status %s in answer to a publish", s)
		}
		return Ack{}, errNoStream
	}
	if a, ok := plainAck(m.Data); ok {
		return a, nil
	}
	var a struct {
		Stream    string    `json:"stream"`
		Seq       uint64    `json:"seq"`
		Duplicate bool      `json:"duplicate"`
		Error     *apiError `json:"error"`
	}
	err := json.Unmarshal(m.Data, &a)
	switch {
	case err != nil:
		return Ack{}, fmt.Errorf("answer to a publish: %w", err)
	case a.Error != nil:
		return Ack{}, a.Error
	case a.Stream == "" || a.Seq == 0:
		return Ack{}, errors.New("answer to a publish does not say where the message was stored")
	}
	return Ack{Seq: a.Seq, Duplicate: a.Duplicate}, nil
}

// plainAck reads what the server writes when all is well, without a JSON decoder: {"stream":"NAME", "seq":N}, with
// ,"duplicate": true in it or not. Anything else is left to the decoder.
func plainAck(data []byte) (Ack, bool) {
	const name, number, duplicate = `{"stream":"`, `"seq":`, `,"duplicate": true}`
	rest, ok := bytes.CutPrefix(data, []byte(name))
	if !ok {
		return Ack{}, false
	}
	if _, rest, ok = bytes.Cut(rest, []byte{'"'}); !ok {
		return Ack{}, false
	}
	rest = bytes.TrimPrefix(bytes.TrimPrefix(rest, []byte(",")), []byte(" "))
	if rest, ok = bytes.CutPrefix(rest, []byte(number)); !ok {
		return Ack{}, false
	}
	var a Ack
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		a.Seq = a.Seq*10 + uint64(rest[digits]-'0')
		digits++
	}
	switch string(rest[digits:]) {
	case "}":
	case duplicate:
		a.Duplicate = true
	default:
		return Ack{}, false
	}
	return a, a.Seq > 0 && digits < 19 // more could be too much for the number
}

// seconds writes d as JetStream takes it: whole seconds, at least one, never less than d.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10) + "s"
}

// backoff sleeps a little longer each time.
type backoff struct{ d time.Duration }

func (w *backoff) sleep(ctx context.Context, deadline time.Time) error {
	w.d = min(max(w.d*2, 500*time.Microsecond), 50*time.Millisecond)
	if time.Until(deadline) < w.d {
		return errNoAnswer
	}
	t := time.NewTimer(w.d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// outgoing is a message on its way out. nats.go has written it out when PublishMsg returns, so it is used again.
type outgoing struct {
	msg    nats.Msg
	values [16]string // backing of the header's values
	n      int

	scratch []byte // where a payload is written that is made for this message; not larger than keptScratch
}

const keptScratch = 16 << 10

var outgoings = sync.Pool{New: func() any {
	o := new(outgoing)
	o.msg.Header = make(nats.Header, len(o.values))
	return o
}}

func takeOutgoing(subj string, data []byte) *outgoing {
	o, _ := outgoings.Get().(*outgoing)
	o.msg.Subject, o.msg.Data = subj, data
	return o
}

func (o *outgoing) set(name, value string) {
	if o.n == len(o.values) {
		o.msg.Header[name] = []string{value}
		return
	}
	o.values[o.n] = value
	o.msg.Header[name] = o.values[o.n : o.n+1 : o.n+1]
	o.n++
}

func (o *outgoing) giveBack() {
	clear(o.msg.Header)
	clear(o.values[:o.n])
	o.n = 0
	o.msg.Subject, o.msg.Reply, o.msg.Data = "", "", nil
	outgoings.Put(o)
}
