package tunnel_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// script is a driver that does what a test says, one step for each Run.
type script struct {
	steps []func(ctx context.Context, report func(tunnel.Observation)) error
	runs  []time.Time
}

func (s *script) Run(ctx context.Context, _ tunnel.Spec, report func(tunnel.Observation)) error {
	n := min(len(s.runs), len(s.steps)-1)
	s.runs = append(s.runs, time.Now())
	return s.steps[n](ctx, report)
}

func open(url string) func(context.Context, func(tunnel.Observation)) error {
	return func(ctx context.Context, report func(tunnel.Observation)) error {
		report(tunnel.Observation{URL: url})
		<-ctx.Done()
		return nil
	}
}

func fail(class tunnel.Class) func(context.Context, func(tunnel.Observation)) error {
	return func(context.Context, func(tunnel.Observation)) error {
		return &tunnel.Error{Class: class, Message: string(class)}
	}
}

// keep runs a keeper for a span of bubble time and gives its states in order.
func keep(t *testing.T, d tunnel.Driver, span time.Duration, change func(k *tunnel.Keeper)) []tunnel.State {
	t.Helper()
	var states []tunnel.State
	k := &tunnel.Keeper{
		Driver: d, Probe: func(context.Context, string) error { return nil }, Log: slog.New(slog.DiscardHandler),
		Changed: func(s tunnel.Status) {
			if len(states) == 0 || states[len(states)-1] != s.State {
				states = append(states, s.State)
			}
		},
	}
	if change != nil {
		change(k)
	}
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	k.Run(ctx, tunnel.Status{})
	return states
}

func TestKeeper(t *testing.T) {
	const starting, up, degraded, reconnecting, failed = tunnel.Starting, tunnel.Up, tunnel.Degraded, tunnel.Reconnecting, tunnel.Failed
	type step = func(context.Context, func(tunnel.Observation)) error
	for name, c := range map[string]struct {
		steps  []step
		change func(k *tunnel.Keeper)
		want   []tunnel.State
		runs   int // 0: not looked at
	}{
		"up":                          {steps: []step{open("u")}, want: []tunnel.State{starting, up}, runs: 1},
		"a wrong token is tried once": {steps: []step{fail(tunnel.Auth)}, want: []tunnel.State{starting, failed}, runs: 1},
		"DNS is late":                 {steps: []step{fail(tunnel.Network), fail(tunnel.Network), open("u")}, want: []tunnel.State{starting, up}, runs: 3},
		"one that panics": {
			steps: []step{func(context.Context, func(tunnel.Observation)) error { panic("oh") }, open("u")},
			want:  []tunnel.State{starting, up}, runs: 2,
		},
		"one that ends": {
			steps: []step{
				func(ctx context.Context, report func(tunnel.Observation)) error {
					report(tunnel.Observation{URL: "u"})
					select {
					case <-time.After(time.Minute):
						return nil
					case <-ctx.Done():
						return nil
					}
				}, open("u"),
			},
			want: []tunnel.State{starting, up, reconnecting, up}, runs: 2,
		},
		"one that drops and comes back by itself": {
			steps: []step{func(ctx context.Context, report func(tunnel.Observation)) error {
				report(tunnel.Observation{URL: "u"})
				<-time.After(time.Second)
				report(tunnel.Observation{Err: errors.New("cut")})
				<-time.After(time.Second)
				report(tunnel.Observation{URL: "v"})
				<-ctx.Done()
				return nil
			}},
			want: []tunnel.State{starting, up, reconnecting, up}, runs: 1,
		},
		"signing in is not yet up": {
			steps: []step{func(ctx context.Context, report func(tunnel.Observation)) error {
				report(tunnel.Observation{URL: "u"})
				<-time.After(time.Second)
				report(tunnel.Observation{SignedIn: "in"}) // changes nothing
				<-ctx.Done()
				return nil
			}},
			want: []tunnel.State{starting, up}, runs: 1,
		},
		"the public URL never leads here": {
			steps:  []step{open("u")},
			change: func(k *tunnel.Keeper) { k.Probe = func(context.Context, string) error { return errors.New("no") } },
			want:   []tunnel.State{starting},
		},
		"the public URL stops leading here": {
			steps: []step{open("u")},
			change: func(k *tunnel.Keeper) {
				n := 0
				k.Probe = func(context.Context, string) error {
					if n++; n > 1 && n <= 5 {
						return errors.New("no")
					}
					return nil
				}
			},
			want: []tunnel.State{starting, up, degraded, reconnecting, up}, runs: 2,
		},
		"nothing listens, then something does": {
			steps: []step{open("u")},
			change: func(k *tunnel.Keeper) {
				n := 0
				k.Target = func(context.Context) error {
					if n++; n < 3 {
						return errors.New("nobody")
					}
					return nil
				}
				k.Probe = func(context.Context, string) error {
					<-time.After(time.Millisecond) // behind the first look at the target
					return nil
				}
			},
			want: []tunnel.State{starting, degraded, up}, runs: 1,
		},
		"tried so often": {
			steps:  []step{fail(tunnel.Network)},
			change: func(k *tunnel.Keeper) { k.Policy = tunnel.Policy{Max: 2} },
			want:   []tunnel.State{starting, failed}, runs: 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &script{steps: c.steps}
				got := keep(t, d, 10*time.Minute, c.change)
				if !slices.Equal(got, c.want) {
					t.Errorf("%v, want %v", got, c.want)
				}
				if c.runs != 0 && len(d.runs) != c.runs {
					t.Errorf("the driver ran %d times, want %d", len(d.runs), c.runs)
				}
			})
		})
	}
}
