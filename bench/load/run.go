package load

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"github.com/switchbackhq/switchback/bench/mock"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// runTime bounds one run.
const runTime = 60 * time.Second

// prompt is the input of each run.
const prompt = "a lighthouse at dusk, oil on canvas"

// ended is what both ceiling and Switchback tell of a run that has ended.
type ended struct {
	ID     string      `json:"id"`
	Status string      `json:"status"`
	Output mock.Result `json:"output"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// readEnded gives the time from the outside service's callback until now.
func readEnded(document []byte) (time.Duration, error) {
	now := time.Now()
	run, err := readEndedRun(document)
	if err != nil {
		return 0, err
	}
	return now.Sub(time.Unix(0, run.Output.SentAt)), nil
}

// readEndedRun reads the document of a run that must have completed with the callback's result.
func readEndedRun(document []byte) (ended, error) {
	var run ended
	switch err := json.Unmarshal(document, &run); {
	case err != nil:
		return run, fmt.Errorf("the run's document cannot be read: %w: %s", err, document)
	case run.Error != nil:
		return run, fmt.Errorf("run %s ended as %s: %s", run.ID, run.Status, run.Error.Message)
	case run.Status != "completed" || run.Output.SentAt == 0:
		return run, fmt.Errorf("run %s ended as %q without the callback's result: %s", run.ID, run.Status, document)
	default:
		return run, nil
	}
}

// flowBody is what asks the hand-written service for a run.
func flowBody() (body []byte, digits int) {
	const at = `{"prompt":"` + prompt + `","n":"`
	return []byte(at + strings.Repeat("0", idDigits) + `"}`), len(at)
}

// runInput is what asks Switchback for one.
func runInput(hold bool) []byte {
	return fmt.Appendf(nil, `{"prompt":%q,"hold":%t}`, prompt, hold)
}

// asker asks for runs on NATS and waits for the end of each.
type asker struct {
	nc      *nats.Conn
	slot    string // last token of the subject that this asker is answered on
	inbox   string
	prefix  string // of run ids
	request string // subject
	input   []byte
	answers chan *nats.Msg
}

// askers are all askers of one connection.
type askers struct {
	nc    *nats.Conn
	slots []*asker
}

// newAskers connects and makes n askers for the workflow.
func newAskers(url, workflow, prefix string, n int) (*askers, error) {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(pollTime))
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	inbox := nc.NewRespInbox()
	a := &askers{nc: nc}
	for i := range n {
		a.slots = append(a.slots, &asker{
			nc: nc, slot: strconv.Itoa(i), inbox: inbox, prefix: prefix, request: subject.RunRequest(workflow),
			input: runInput(false), answers: make(chan *nats.Msg, 1),
		})
	}
	sub, err := nc.Subscribe(inbox+".*.*", a.deliver)
	if err == nil {
		err = errors.Join(sub.SetPendingLimits(-1, -1), nc.Flush())
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("subscribe to the ends of runs: %w", err)
	}
	return a, nil
}

// deliver gives an end, or a refusal by JetStream, to the asker that waits for it.
func (a *askers) deliver(m *nats.Msg) {
	dot := strings.LastIndexByte(m.Subject, '.')
	if strings.HasSuffix(m.Subject[:dot], ".ack") && !refused(m) {
		return
	}
	i, err := strconv.Atoi(m.Subject[dot+1:])
	if err != nil || i < 0 || i >= len(a.slots) {
		return
	}
	select {
	case a.slots[i].answers <- m:
	default: // told twice
	}
}

// refused tells an error of JetStream from an acknowledgement.
func refused(ack *nats.Msg) bool {
	return ack.Header.Get("Status") != "" || bytes.Contains(ack.Data, []byte(`"error"`))
}

func (a *asker) do(ctx context.Context, n int64) (time.Duration, error) {
	id := runID(a.prefix, n)
	m := &nats.Msg{
		Subject: a.request, Reply: a.inbox + ".ack." + a.slot, Data: a.input,
		// Both ids as the command line makes them: the stream tells a doubled request, and the run need not be saved to.
		Header: nats.Header{nats.MsgIdHdr: {id}, subject.HeaderRunID: {id}, subject.HeaderReplyTo: {a.inbox + ".end." + a.slot}},
	}
	if err := a.nc.PublishMsg(m); err != nil {
		return 0, err
	}
	timer := time.NewTimer(runTime)
	defer timer.Stop()
	for {
		select {
		case m := <-a.answers:
			if !strings.HasPrefix(m.Subject, a.inbox+".end.") {
				return 0, fmt.Errorf("the run request was refused: %s%s", m.Header.Get("Status"), m.Data)
			}
			tail, err := readEnded(m.Data)
			if err == nil && !bytes.Contains(m.Data, []byte(id)) {
				continue // of a run before, told twice
			}
			return tail, err
		case <-timer.C:
			return 0, fmt.Errorf("run %s did not end within %v", id, runTime)
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (a *asker) close() error { return nil }

// runID is a ULID of its own for each number of a load: the id of a run that nobody else names.
func runID(prefix string, n int64) string {
	var id ulid.ULID
	copy(id[:8], prefix)
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id.String()
}

// runNumber is the number in such an id.
func runNumber(prefix, id string) (n int64, ok bool) {
	u, err := ulid.ParseStrict(id)
	n = int64(binary.BigEndian.Uint64(u[8:]))
	return n, err == nil && id == runID(prefix, n)
}

func (a *askers) workers() []worker {
	workers := make([]worker, len(a.slots))
	for i, s := range a.slots {
		workers[i] = s
	}
	return workers
}
