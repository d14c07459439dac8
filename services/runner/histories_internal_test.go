package runner

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/workers"
)

var (
	histories     = flag.Int("runner.histories", 8, "random histories in TestHistoriesOfRunners")
	firstHistory  = flag.Uint64("runner.first", 0, "the first of them")
	showHistories = flag.Bool("runner.show", false, "log them")
)

// played is what the runs of a history go by: ids that several runs want, one job's id taken over by the next, loops, lists, runs of runs.
const played = `
components:
  now: {base_url: OUTSIDE, path: /now, method: POST, body: {}}
  later: {base_url: OUTSIDE, path: /later, method: POST, body: {}, completion: {type: callback, wait_for: "${response.task}"}}
  shared: {base_url: OUTSIDE, path: /later, method: POST, body: {}, completion: {type: callback, wait_for: "shared-${input.h}"}}
workflows:
  line:
    on_failure: {workflow: note, input: {}}
    jobs:
      - {id: a, type: wait, wait_for: "shared-${input.h}"}
      - {id: say, component: now, input: {}, depends_on: [a]}
      - {id: b, type: wait, wait_for: "shared-${input.h}", depends_on: [a]}
      - {id: end, component: now, input: {}, depends_on: [b]}
  fork:
    on_failure: {workflow: note, input: {}}
    on_success: {workflow: note, input: {}}
    jobs:
      - {id: a, component: later, input: {}}
      - {id: b, component: later, input: {}, retry: {max_attempts: 2, delay: 0}}
      - {id: c, component: shared, input: {h: "${input.h}"}}
      - {id: end, component: now, input: {}, depends_on: [[a, b]]}
  loop:
    jobs:
      - {id: ask, type: wait, wait_for: "shared-${input.h}"}
      - {id: say, component: now, input: {}, depends_on: [ask]}
      - {id: decide, type: if, condition: "${jobs.ask.output.more | false}", if_true: ask, if_false: end, depends_on: [say]}
      - {id: end, component: later, input: {}}
  list:
    on_failure: {workflow: note, input: {}}
    jobs:
      - {id: each, type: for-each, input: [1, 2, 3], batch_size: 2, do: {component: later, input: {}}, on_error: ignore}
      - {id: any, type: wait, wait_for: ["shared-${input.h}", "second-${input.h}"], quorum: any}
      - {id: end, component: now, input: {}, depends_on: [each, any]}
  parent:
    on_failure: {workflow: note, input: {}}
    jobs:
      - {id: child, type: workflow, workflow: fork, input: {h: "${input.h}"}}
      - {id: own, component: later, input: {}}
      - {id: end, component: now, input: {}, depends_on: [child]}
  note: {job: {id: say, component: now, input: {}}}
`

// TestHistoriesOfRunners plays random histories of whole runners on a genuine server: each goes on by one operation on NATS at a time,
// beside the others, and is killed before or after any of them, or stays behind for long. Messages come again, twice at once, out of
// order, and as if they had never come. Runs wait for the same ids, fail, are cancelled and tried again. Whatever happens: when nothing is
// under way, each run that goes waits for what can come, nobody holds a wait for one that has ended, each end was told, no callback was
// taken twice, and all runs can be brought to their ends.
func TestHistoriesOfRunners(t *testing.T) {
	nats := bustest.Start(t)
	s := &stage{t: t, server: nats.Server(), bus: nats.Provisioned(bus.Layout{}), read: map[string]uint64{}}
	outside := httptest.NewServer(http.HandlerFunc(s.outside))
	defer outside.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // net/http's own
	doc, err := compose.Parse([]byte(strings.ReplaceAll(played, "OUTSIDE", outside.URL)), noVariables)
	if err != nil {
		t.Fatal(err)
	}
	s.doc = doc
	if err := New(Config{}, Deps{Bus: s.bus, Document: doc, Getenv: noVariables}).definitions.publish(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	for seed := *firstHistory; seed < *firstHistory+uint64(*histories); seed++ {
		h := s.begin(seed)
		h.play()
		h.close()
		if t.Failed() {
			t.Fatalf("history %d:\n%s", seed, h.log)
		}
		if *showHistories {
			t.Logf("history %d:\n%s", seed, h.log)
		}
	}
}

func noVariables(string) (string, bool) { return "", false }

// stage is what all histories have in common.
type stage struct {
	t      *testing.T
	server *server.Server
	bus    *bus.Bus // everybody else's
	doc    *compose.Document
	read   map[string]uint64 // up to where, by what is read
}

func (s *stage) outside(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	status, body := http.StatusOK, `{}`
	if r.URL.Path == "/later" {
		status, body = http.StatusAccepted, fmt.Sprintf(`{"task":%q}`, r.Header.Get("Idempotency-Key"))
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// history is one of them.
type history struct {
	*stage

	rng     *rand.Rand
	seed    uint64
	prefix  string // of its runs and ids
	log     []byte
	pending []*pendingMessage
	runners []*playedRunner
	names   int
	docs    map[string]*event.Run // as they were saved last
	taken   map[uint64]string     // by callback: the run and job that it has brought on
	hooks   map[string]bool       // runs that must have been asked for
	rung    map[uint64]bool       // timers that have rung here
	left    map[string]bool       // timers of what was let go that are set
	crashes int
	meddled int
	late    bool // messages come again while they are being worked on
	final   bool // nothing is to go wrong any more
}

type pendingMessage struct {
	name       string
	stored     bus.Stored
	command    func(ctx context.Context, r *Runner) error // is no message, and does not come again
	request    bool
	deliveries int
	held       int
	// beside: one that had it was killed while another had it too. Acknowledged by that one it would not come again, and nothing would
	// bring to its end what the first has set off. It comes again here.
	beside bool
}

// playedRunner is a runner, with what it works on.
type playedRunner struct {
	*Runner

	name   string
	client *bus.Bus
	gate   *gate
	cancel context.CancelFunc
	on     *pendingMessage
	done   chan error
	at     string // the subject of what it is about to do
}

func (s *stage) begin(seed uint64) *history {
	h := &history{
		stage: s, rng: rand.New(rand.NewPCG(seed, 3)), seed: seed, prefix: fmt.Sprintf("h%d-", seed), late: seed%3 == 0,
		docs: map[string]*event.Run{}, taken: map[uint64]string{}, hooks: map[string]bool{}, rung: map[uint64]bool{}, left: map[string]bool{},
	}
	for range 3 {
		h.start()
	}
	workflows := []string{"line", "line", "fork", "loop", "list", "parent"}
	for i := range 1 + h.rng.IntN(3) {
		id := fmt.Sprintf("%sr%d", h.prefix, i)
		workflow := workflows[h.rng.IntN(len(workflows))]
		h.note("ask for %s of %s", id, workflow)
		if _, err := s.bus.PublishRunRequest(s.t.Context(), &event.RunRequest{RunID: id, MsgID: id, Workflow: workflow, Input: fmt.Appendf(nil, `{"h":%q}`, h.prefix)}); err != nil {
			s.t.Fatal(err)
		}
	}
	h.hear()
	return h
}

func (h *history) note(format string, args ...any) { h.log = fmt.Appendf(h.log, format+"\n", args...) }

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	h.note("FAILS: "+format, args...)
	h.t.Errorf(format, args...)
}

// start starts a runner.
func (h *history) start() {
	h.names++
	r := &playedRunner{name: fmt.Sprintf("runner %d", h.names), gate: newGate()}
	var err error
	r.client, err = bus.Connect(h.t.Context(), bus.Options{InProcess: wired{h.server, r.gate}})
	if err != nil {
		h.t.Fatal(err)
	}
	r.Runner = New(Config{}, Deps{Bus: r.client, Document: h.doc, Getenv: noVariables})
	r.invocations = workers.New(1)
	h.runners = append(h.runners, r)
}

func (h *history) end(r *playedRunner) {
	r.invocations.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, dead := r.gate.state(); dead {
		cancel() // nobody would answer
	}
	_ = r.client.Close(ctx)
	h.runners = slices.DeleteFunc(h.runners, func(o *playedRunner) bool { return o == r })
}

func (h *history) close() {
	for _, r := range slices.Clone(h.runners) {
		if r.on != nil {
			h.kill(r)
		} else {
			h.end(r)
		}
	}
}

// hear takes note of the messages that have come.
func (h *history) hear() {
	for _, from := range []struct{ stream, filter string }{
		{subject.StreamRuns, "run.request.>"}, {subject.StreamWaits, subject.AllCallbacks}, {subject.StreamWaits, subject.AllTimeouts},
	} {
		for {
			m, err := h.bus.Next(h.t.Context(), from.stream, from.filter, h.read[from.filter]+1)
			if errors.Is(err, bus.ErrNotFound) {
				break
			}
			if err != nil {
				h.t.Fatal(err)
			}
			h.read[from.filter] = m.Seq
			if mine := m.Subject + m.Header[subject.HeaderRunID] + string(m.Data); !strings.Contains(mine, h.prefix) {
				continue // an earlier history's timer
			}
			p := &pendingMessage{name: fmt.Sprintf("%s (%d)", m.Subject, m.Seq), stored: *m, request: from.stream == subject.StreamRuns}
			if p.request {
				p.name += " for " + m.Header[subject.HeaderRunID]
			}
			h.note("comes: %s", p.name)
			h.pending = append(h.pending, p)
		}
	}
}

func (h *history) play() {
	for range 400 + h.rng.IntN(400) {
		if h.turn(); h.t.Failed() {
			return
		}
		if h.over() {
			break
		}
	}
	h.note("from here on nothing goes wrong")
	h.final = true
	for round := 0; ; round++ {
		for h.turn() {
			if h.t.Failed() {
				return
			}
		}
		if h.rings() {
			continue
		}
		going := h.settled()
		if h.t.Failed() || len(going) == 0 {
			return
		}
		if round > 100 {
			h.fail("the runs %v do not come to their ends", going)
			return
		}
		for _, id := range h.awaited() {
			h.callBack(id, event.Succeeded)
		}
	}
}

// over tells whether nothing would happen any more.
func (h *history) over() bool {
	for _, run := range h.docs {
		if !run.Status.Ended() || h.meddled < 4 && run.Status != event.StatusCompleted {
			return false
		}
	}
	return len(h.docs) > 0 && len(h.pending) == 0
}

// turn does one thing, and tells whether there was anything to do.
func (h *history) turn() bool {
	var idle, busy []*playedRunner
	for _, r := range h.runners {
		if r.on == nil {
			idle = append(idle, r)
		} else {
			busy = append(busy, r)
		}
	}
	var free []*pendingMessage
	for _, p := range h.pending {
		if p.held == 0 || h.late && !h.final && p.command == nil && p.held < 2 && h.rng.IntN(20) == 0 {
			free = append(free, p)
		}
	}
	odds := func(one, of int) bool { return !h.final && h.rng.IntN(of) < one }
	switch {
	case odds(1, 40):
		h.meddle()
	case odds(1, 25):
		h.outcome()
	case len(busy) > 0 && h.crashes < 12 && odds(1, 40):
		// Where another had the same message and has acknowledged it, nothing would bring that one's work to its end.
		if r := busy[h.rng.IntN(len(busy))]; slices.Contains(h.pending, r.on) {
			h.crashes++
			h.kill(r)
		}
	case len(free) > 0 && len(idle) > 0 && (len(busy) == 0 || h.rng.IntN(6) == 0):
		h.deliver(idle[h.rng.IntN(len(idle))], free[h.rng.IntN(len(free))])
	case len(busy) > 0:
		h.step(busy[h.rng.IntN(len(busy))])
	default:
		return false
	}
	return true
}

// deliver has a runner begin to work on a message.
func (h *history) deliver(r *playedRunner, p *pendingMessage) {
	p.held++
	p.deliveries++
	d := &bus.Delivery{Stored: p.stored, Deliveries: p.deliveries}
	if h.rng.IntN(6) == 0 {
		d.Deliveries = 1 // NATS has forgotten
	}
	h.note("%s takes %s, delivery %d", r.name, p.name, d.Deliveries)
	ctx, cancel := context.WithCancel(h.t.Context())
	r.on, r.cancel, r.done = p, cancel, make(chan error, 1)
	r.gate.shut(true)
	go func() {
		r.done <- guard(func() error {
			switch {
			case p.command != nil:
				return p.command(ctx, r.Runner)
			case p.request:
				return r.request(ctx, d)
			default:
				return r.resume(ctx, d)
			}
		})
	}()
	h.await(r)
}

// await waits until a runner is about to do something on NATS, or is done.
func (h *history) await(r *playedRunner) {
	select {
	case r.at = <-r.gate.arrived:
	case err := <-r.done:
		r.cancel()
		p := r.on
		r.on, r.at = nil, ""
		r.gate.shut(false)
		p.held--
		switch {
		case errors.Is(err, errAborted): // the run was tried again while a request of its end was let go: the message comes again
			h.note("%s hands back %s", r.name, p.name)
			return
		case err != nil:
			h.fail("%s on %s: %v", r.name, p.name, err)
			return
		}
		h.note("%s is done with %s", r.name, p.name)
		if p.beside {
			p.beside = p.held > 0
		} else {
			h.pending = slices.DeleteFunc(h.pending, func(o *pendingMessage) bool { return o == p })
		}
		h.hear()
	case <-time.After(10 * time.Minute):
		h.fail("%s hangs on %s", r.name, r.on.name)
	}
}

// step lets a runner do what it is about to.
func (h *history) step(r *playedRunner) {
	at := r.at
	h.note("%s does %s", r.name, at)
	r.gate.pass <- struct{}{}
	h.await(r)
	h.look(at)
}

// kill kills a runner before what it is about to do, and starts another.
func (h *history) kill(r *playedRunner) {
	h.note("%s is killed before %s", r.name, r.at)
	r.gate.kill()
	r.cancel()
	<-r.done
	p := r.on
	p.held--
	p.beside = p.held > 0
	if p.command != nil { // what is asked for so is not stored
		h.pending = slices.DeleteFunc(h.pending, func(o *pendingMessage) bool { return o == p })
	}
	h.end(r)
	h.start()
	h.hear()
}
