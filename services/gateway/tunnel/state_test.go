package tunnel_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNext(t *testing.T) {
	const a, b = "https://a.example", "https://b.example"
	opened := func(url string) tunnel.Event { return tunnel.Event{Kind: tunnel.Opened, URL: url} }
	proved, began := tunnel.Event{Kind: tunnel.Proved}, tunnel.Event{Kind: tunnel.Began}
	unproved := tunnel.Event{Kind: tunnel.Unproved, Err: errors.New("404")}
	dropped := tunnel.Event{Kind: tunnel.Dropped, Err: errors.New("cut")}
	closed := func(in time.Duration) tunnel.Event {
		return tunnel.Event{Kind: tunnel.Closed, Err: errors.New("cut"), RetryIn: in}
	}
	lost, back := tunnel.Event{Kind: tunnel.TargetLost, Err: errors.New("nobody there")}, tunnel.Event{Kind: tunnel.TargetBack}
	for name, c := range map[string]struct {
		events     []tunnel.Event
		state      tunnel.State
		url, error string
		generation uint64
		attempts   int
	}{
		"begun":                          {events: []tunnel.Event{began}, state: tunnel.Starting},
		"open is not up":                 {events: []tunnel.Event{began, opened(a)}, state: tunnel.Starting},
		"proved":                         {events: []tunnel.Event{began, opened(a), proved}, state: tunnel.Up, url: a, generation: 1},
		"not proved":                     {events: []tunnel.Event{began, opened(a), unproved}, state: tunnel.Starting, error: "404"},
		"proved late":                    {events: []tunnel.Event{began, opened(a), unproved, proved}, state: tunnel.Up, url: a, generation: 1},
		"a proof of nothing":             {events: []tunnel.Event{began, proved}, state: tunnel.Starting},
		"a proof after the end":          {events: []tunnel.Event{began, opened(a), closed(1), proved}, state: tunnel.Starting, error: "cut", attempts: 1},
		"no more":                        {events: []tunnel.Event{began, opened(a), proved, unproved}, state: tunnel.Degraded, url: a, error: "404", generation: 1},
		"again":                          {events: []tunnel.Event{began, opened(a), proved, unproved, proved}, state: tunnel.Up, url: a, generation: 1},
		"dropped":                        {events: []tunnel.Event{began, opened(a), proved, dropped}, state: tunnel.Reconnecting, url: a, error: "cut", generation: 1},
		"back at the same URL":           {events: []tunnel.Event{began, opened(a), proved, dropped, opened(a), proved}, state: tunnel.Up, url: a, generation: 1},
		"back at the same URL, unproved": {events: []tunnel.Event{began, opened(a), proved, dropped, opened(a)}, state: tunnel.Reconnecting, url: a, error: "cut", generation: 1},
		"back at another URL":            {events: []tunnel.Event{began, opened(a), proved, dropped, opened(b), proved}, state: tunnel.Up, url: b, generation: 2},
		"another URL at once":            {events: []tunnel.Event{began, opened(a), proved, opened(b)}, state: tunnel.Reconnecting, url: a, error: "not proved yet", generation: 1},
		"closed":                         {events: []tunnel.Event{began, opened(a), proved, closed(1)}, state: tunnel.Reconnecting, url: a, error: "cut", generation: 1, attempts: 1},
		"closed twice":                   {events: []tunnel.Event{began, opened(a), proved, closed(1), closed(1)}, state: tunnel.Reconnecting, url: a, error: "cut", generation: 1, attempts: 2},
		"never opened":                   {events: []tunnel.Event{began, closed(1)}, state: tunnel.Starting, error: "cut", attempts: 1},
		"for good":                       {events: []tunnel.Event{began, closed(-1)}, state: tunnel.Failed, error: "cut", attempts: 1},
		"a flapping one keeps count":     {events: []tunnel.Event{began, closed(1), opened(a), proved, closed(1)}, state: tunnel.Reconnecting, url: a, error: "cut", generation: 1, attempts: 2},
		"no target":                      {events: []tunnel.Event{began, opened(a), proved, lost}, state: tunnel.Degraded, url: a, error: "upstream_down: nobody there", generation: 1},
		"no target from the start":       {events: []tunnel.Event{began, lost, opened(a), proved}, state: tunnel.Degraded, url: a, error: "upstream_down: nobody there", generation: 1},
		"target is back":                 {events: []tunnel.Event{began, lost, opened(a), proved, back}, state: tunnel.Up, url: a, generation: 1},
		"target is back, URL is not":     {events: []tunnel.Event{began, opened(a), proved, unproved, lost, back}, state: tunnel.Degraded, url: a, error: "404", generation: 1},
		"another has it":                 {events: []tunnel.Event{began, opened(a), proved, {Kind: tunnel.Resigned}}, state: tunnel.Standby, url: a, generation: 1},
		"taken over":                     {events: []tunnel.Event{began, opened(a), proved, {Kind: tunnel.Resigned}, began, opened(a), proved}, state: tunnel.Up, url: a, generation: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var s tunnel.Status
			at := time.Unix(0, 0)
			for _, e := range c.events {
				at = at.Add(time.Second)
				e.At = at
				before := s
				s = tunnel.Next(s, e)
				if (s.State == before.State) != (s.Since.Equal(before.Since)) {
					t.Errorf("%v → %v: since %v → %v", before.State, s.State, before.Since, s.Since)
				}
			}
			if s.State != c.state || s.URL != c.url || s.Generation != c.generation || s.Attempts != c.attempts {
				t.Errorf("%s %q generation %d, %d attempts; want %s %q %d, %d", s.State, s.URL, s.Generation, s.Attempts, c.state, c.url, c.generation, c.attempts)
			}
			if c.error == "" && s.Error != "" || !strings.Contains(s.Error, c.error) {
				t.Errorf("error %q, want …%s…", s.Error, c.error)
			}
		})
	}
}

func TestFailuresAreForgottenAfterAHealthyMinute(t *testing.T) {
	at := time.Unix(1000, 0)
	s := tunnel.Next(tunnel.Status{}, tunnel.Event{Kind: tunnel.Began, At: at})
	s = tunnel.Next(s, tunnel.Event{Kind: tunnel.Closed, At: at, Err: errors.New("x"), RetryIn: 1})
	s = tunnel.Next(s, tunnel.Event{Kind: tunnel.Opened, At: at, URL: "u"})
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {59 * time.Second, 1}, {time.Minute, 0}} {
		s = tunnel.Next(s, tunnel.Event{Kind: tunnel.Proved, At: at.Add(c.after)})
		if s.Attempts != c.want {
			t.Errorf("after %s: %d attempts, want %d", c.after, s.Attempts, c.want)
		}
	}
}
