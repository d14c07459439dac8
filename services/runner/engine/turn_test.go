package engine_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

func TestTurns(t *testing.T) {
	second := time.Second
	bounded := func(c compose.Concurrency) engine.World {
		w := world(component(0), job("a"))
		w.Document.Workflows[0].Concurrency = &c
		return w
	}
	plain := bounded(compose.Concurrency{Limit: 2})
	granted := func(number int, at time.Time) engine.Granted {
		return engine.Granted{Turn: event.Turn{Number: number}, Trigger: "request:7", At: at}
	}
	look := func(at time.Time) engine.Expired {
		return engine.Expired{ID: engine.TurnID("r", 1), Seq: 30, Trigger: "timeout:30", At: at}
	}
	ring := func(at time.Time) engine.Expired {
		ev := look(at)
		ev.Rung = true
		return ev
	}
	rung := func(at time.Time) engine.Granted {
		return engine.Granted{Turn: event.Turn{Number: 1}, Trigger: "timeout:30", At: at}
	}
	rungOff := engine.Acted{Job: "a", Attempt: 1, Trigger: "timeout:30", At: after(second), Err: &engine.Error{Code: "x", Message: "no"}}
	tooLate := engine.NotYet{Trigger: "timeout:30", At: after(second)}
	failed := engine.Acted{Job: "a", Attempt: 1, Trigger: "request:7", At: after(second), Err: &engine.Error{Code: "x", Message: "no"}}
	retried := engine.Retried{Request: 8, Trigger: "request:8", At: after(2 * second)}
	timeLimited := bounded(compose.Concurrency{Limit: 1})
	timeLimited.Document.Workflows[0].Timeout = 5 * second

	for name, tc := range map[string]struct {
		world    engine.World
		events   []engine.Event
		states   string
		commands []string
	}{
		"a request asks for its turn and starts nothing": {
			plain, []engine.Event{requested(t0)}, "waiting", []string{"acquire 1 of 2"},
		},
		"its turn starts the jobs": {
			plain,
			[]engine.Event{requested(t0), granted(1, after(second))},
			"running a=running",
			[]string{"end r..turn used 0", "act r.a until 24h0m1s"},
		},
		"its turn comes once": {
			plain, []engine.Event{requested(t0), granted(1, after(second)), granted(1, after(2*second))}, "running a=running", []string{},
		},
		"queued, it looks again": {
			plain, []engine.Event{requested(t0), engine.NotYet{At: t0}}, "waiting", []string{"sleep r..turn until 1m0s"},
		},
		"the longer it is queued, the less often": {
			plain, []engine.Event{requested(t0), engine.NotYet{At: after(10 * time.Minute)}}, "waiting", []string{"sleep r..turn until 20m0s"},
		},
		"but not beyond its time": {
			bounded(compose.Concurrency{Limit: 1, Timeout: 30 * second}),
			[]engine.Event{requested(t0), engine.NotYet{At: t0}},
			"waiting",
			[]string{"sleep r..turn until 30s"},
		},
		"its timer makes it look": {
			plain, []engine.Event{requested(t0), look(after(second))}, "waiting", []string{"acquire 1 of 2"},
		},
		"a ring brings its turn": {
			plain, []engine.Event{requested(t0), ring(after(second))}, "waiting", []string{"acquire 1 of 2, rung for"},
		},
		"not the ring for an earlier turn: that is given back": {
			plain,
			[]engine.Event{requested(t0), granted(1, t0), failed, retried, ring(after(3 * second))},
			"waiting a=failed",
			[]string{"release 1"},
		},
		"a ring when it goes already changes nothing": {
			plain, []engine.Event{requested(t0), granted(1, after(second)), look(after(2 * second))}, "running a=running", []string{},
		},
		"the ring that brought its turn comes again: what it set off is done again": {
			plain,
			[]engine.Event{requested(t0), look(after(second)), rung(after(second)), look(after(2 * second))},
			"running a=running",
			[]string{"act r.a until 24h0m1s"},
		},
		"and after its end": {
			plain,
			[]engine.Event{requested(t0), rung(after(second)), rungOff, look(after(2 * second))},
			"failed a=failed",
			[]string{"release 1", "finish"},
		},
		"queued for too long it fails, and leaves the queue": {
			bounded(compose.Concurrency{Limit: 1, Timeout: second}),
			[]engine.Event{requested(t0), tooLate},
			"failed",
			[]string{"end r..turn used 0", "release 1", "finish"},
		},
		"which is done again when its timer's message comes again": {
			bounded(compose.Concurrency{Limit: 1, Timeout: second}),
			[]engine.Event{requested(t0), tooLate, look(after(2 * second))},
			"failed",
			[]string{"end r..turn used 0", "release 1", "finish"},
		},
		"cancelled in the queue it leaves it": {
			plain, []engine.Event{requested(t0), engine.Cancelled{At: after(second)}}, "cancelled", []string{"end r..turn used 0", "release 1", "finish"},
		},
		"a ring after its end gives back what it was given": {
			plain, []engine.Event{requested(t0), engine.Cancelled{At: after(second)}, look(after(2 * second))}, "cancelled", []string{"release 1"},
		},
		"so does a turn that comes too late": {
			plain, []engine.Event{requested(t0), engine.Cancelled{At: after(second)}, granted(1, after(2*second))}, "cancelled", []string{"release 1"},
		},
		"the end gives the turn back": {
			plain, []engine.Event{requested(t0), granted(1, t0), failed}, "failed a=failed", []string{"release 1", "finish"},
		},
		"its message comes again after the end": {
			plain,
			[]engine.Event{requested(t0), granted(1, t0), failed, engine.Redelivered{Trigger: "request:7", At: after(second)}},
			"failed a=failed",
			[]string{"release 1", "finish"},
		},
		"its message comes again before its turn": {
			plain, []engine.Event{requested(t0), engine.Redelivered{Trigger: "request:7", At: after(second)}}, "waiting", []string{"acquire 1 of 2"},
		},
		"tried again it waits for another turn": {
			plain, []engine.Event{requested(t0), granted(1, t0), failed, retried}, "waiting a=failed", []string{"acquire 2 of 2"},
		},
		"which starts what did not complete": {
			plain,
			[]engine.Event{requested(t0), granted(1, t0), failed, retried, granted(2, after(3*second))},
			"running a=running",
			[]string{"end r..turn.2 used 0", "act r.a.2 until 24h0m3s"},
		},
		"its timer is not the earlier turn's, which somebody may end late": {
			plain,
			[]engine.Event{requested(t0), granted(1, t0), failed, retried, engine.NotYet{Trigger: "request:8", At: after(3 * second)}},
			"waiting a=failed",
			[]string{"sleep r..turn.2 until 1m3s"},
		},
		"a cancel that comes again when it was tried again since gives the earlier turn back": {
			plain,
			[]engine.Event{
				requested(t0), granted(1, t0), engine.Cancelled{Asked: t0, At: t0}, retried, engine.Cancelled{Asked: t0, At: after(3 * second)},
			},
			"waiting a=cancelled",
			[]string{"release 1"},
		},
		"an earlier turn does not": {
			plain, []engine.Event{requested(t0), granted(1, t0), failed, retried, granted(1, after(3*second))}, "waiting a=failed", []string{"release 1"},
		},
		"the workflow's time begins with its turn": {
			timeLimited,
			[]engine.Event{requested(t0), granted(1, after(time.Minute))},
			"running a=running",
			[]string{"end r..turn used 0", "act r.a until 1m5s"},
		},
		"and anew when it is tried again": {
			timeLimited,
			[]engine.Event{requested(t0), granted(1, t0), failed, retried, granted(2, after(time.Minute))},
			"running a=running",
			[]string{"end r..turn.2 used 0", "act r.a.2 until 1m5s"},
		},
		"a key that cannot be told ends it": {
			bounded(compose.Concurrency{Limit: 1, Key: template(t, "${int(input.n.x)}")}), []engine.Event{requested(t0)}, "failed", []string{"finish"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			run, commands := play(t, tc.world, tc.events...)
			if got := states(run); got != tc.states {
				t.Errorf("it is %q, want %q", got, tc.states)
			}
			if d := cmp.Diff(tc.commands, brief(commands)); d != "" {
				t.Error(d)
			}
		})
	}
	run, _ := play(t, bounded(compose.Concurrency{Limit: 1, Key: template(t, "${input.n}")}), requested(t0))
	if string(run.Turn.Key) != "1" || run.Turn.Request != 7 || !run.StartedAt.IsZero() || !run.Queued() {
		t.Errorf("a queued run: %+v, started %v", run.Turn, run.StartedAt)
	}
}
