package supervise_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/supervise"
)

func untilStopped(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// diary is what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

// service writes into the diary and is ready after a time.
type service struct {
	name  string
	diary *diary
	after time.Duration // until ready; negative: never
	stops time.Duration // how long stopping takes
	ready chan struct{}
	run   func(ctx context.Context) error // nil: untilStopped
}

func (d *diary) service(name string) *service {
	return &service{name: name, diary: d, ready: make(chan struct{})}
}

func (s *service) Name() string           { return s.name }
func (s *service) Ready() <-chan struct{} { return s.ready }

func (s *service) Run(ctx context.Context) error {
	s.diary.add(s.name + " starts")
	defer s.diary.add(s.name + " stopped")
	select {
	case <-time.After(max(s.after, 0)):
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.after >= 0 {
		s.diary.add(s.name + " ready")
		close(s.ready)
	}
	run := s.run
	if run == nil {
		run = untilStopped
	}
	err := run(ctx)
	if s.stops > 0 {
		<-time.After(s.stops) // in a synctest bubble: work that is finished while stopping
	}
	return err
}

func TestRunStartsInOrderAndStopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		a, b, c := d.service("a"), d.service("b"), d.service("c")
		a.after, b.after = time.Second, time.Minute
		a.stops, c.stops = time.Second, time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := supervise.Run(ctx, nil, a, b, c); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		want := []string{
			"a starts", "a ready", "b starts", "b ready", "c starts", "c ready",
			"c stopped", "b stopped", "a stopped",
		}
		if diff := cmp.Diff(want, d.lines); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestRunStopsWhileAServiceIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		a, b, c := d.service("a"), d.service("b"), d.service("c")
		b.after = -1
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := supervise.Run(ctx, nil, a, b, c); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		want := []string{"a starts", "a ready", "b starts", "b stopped", "a stopped"}
		if diff := cmp.Diff(want, d.lines); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestRunStartsNothingWhenItsContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := &diary{}
	if err := supervise.Run(ctx, nil, d.service("a")); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if len(d.lines) > 0 {
		t.Errorf("diary = %q, want none", d.lines)
	}
}

func TestRunWithoutServicesReturns(t *testing.T) {
	if err := supervise.Run(t.Context(), nil); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestRunEndsWithTheFirstService(t *testing.T) {
	errDisk, errLate := errors.New("disk is full"), errors.New("could not flush")
	for name, test := range map[string]struct {
		first     func(ctx context.Context) error // of b, at once
		other     func(ctx context.Context) error // of a
		want      []error
		wantTexts []string
	}{
		"failure": {
			first: func(context.Context) error { return errDisk },
			want:  []error{errDisk}, wantTexts: []string{"b: disk is full"},
		},
		"failure, and another while stopping": {
			first: func(context.Context) error { return errDisk },
			other: func(ctx context.Context) error { <-ctx.Done(); return errLate },
			want:  []error{errDisk, errLate}, wantTexts: []string{"b: disk is full", "a: could not flush"},
		},
		"failure joined to the cancellation": {
			first: func(context.Context) error { return nil },
			other: func(ctx context.Context) error { <-ctx.Done(); return errors.Join(ctx.Err(), errLate) },
			want:  []error{errLate}, wantTexts: []string{"a: context canceled\ncould not flush"},
		},
		"cancellation nobody asked for": {
			first: func(context.Context) error { return fmt.Errorf("ask: %w", context.Canceled) },
			want:  []error{context.Canceled}, wantTexts: []string{"b: ask: context canceled"},
		},
		"done": {
			first: func(context.Context) error { return nil },
		},
		"done, the other returns the cause": {
			first: func(context.Context) error { return nil },
			other: func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("loop: %w", context.Cause(ctx)) },
		},
		"panic": {
			first:     func(context.Context) error { panic("no such luck") },
			wantTexts: []string{"b: panic: no such luck"},
		},
		"panic with an error": {
			first: func(context.Context) error { panic(errDisk) },
			want:  []error{errDisk}, wantTexts: []string{"b: panic: disk is full"},
		},
		"goroutine exits": {
			first:     func(context.Context) error { runtime.Goexit(); return nil },
			wantTexts: []string{"b: ", "Goexit"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &diary{}
				a, b, c := d.service("a"), d.service("b"), d.service("c")
				a.run, b.run = test.other, test.first
				b.after = -1 // ends before it is ready, so c never starts
				err := supervise.Run(t.Context(), nil, a, b, c)
				if len(test.wantTexts) == 0 && err != nil {
					t.Errorf("Run = %v, want nil", err)
				}
				for _, want := range test.want {
					if !errors.Is(err, want) {
						t.Errorf("Run = %v, want %v in it", err, want)
					}
				}
				for _, want := range test.wantTexts {
					if strings.Count(fmt.Sprint(err), want) != 1 {
						t.Errorf("Run = %v, want %q in it once", err, want)
					}
				}
				want := []string{"a starts", "a ready", "b starts", "b stopped", "a stopped"}
				if diff := cmp.Diff(want, d.lines); diff != "" {
					t.Errorf("order (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRunEndsWhenARunningServiceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		a, b := d.service("a"), d.service("b")
		gone := errors.New("connection lost")
		a.run = func(context.Context) error { <-time.After(time.Hour); return gone }
		if err := supervise.Run(t.Context(), nil, a, b); !errors.Is(err, gone) {
			t.Errorf("Run = %v, want %v", err, gone)
		}
		want := []string{"a starts", "a ready", "b starts", "b ready", "a stopped", "b stopped"}
		if diff := cmp.Diff(want, d.lines); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestRunTellsServicesThatTheyAreStopping(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "kept"))
	s := supervise.Func("s", func(own context.Context) error {
		cancel(errors.New("the reason of the outer context"))
		<-own.Done()
		if got := context.Cause(own); !errors.Is(got, supervise.ErrStopping) {
			t.Errorf("cause = %v, want ErrStopping", got)
		}
		if got := own.Value(key{}); got != "kept" {
			t.Errorf("value = %v, want kept", got)
		}
		return nil
	})
	if err := supervise.Run(ctx, nil, s); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestRunNamesWhoTakesLongToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := &diary{}
		slow := d.service("slow")
		slow.stops = 11 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := supervise.Run(ctx, slog.New(slog.NewTextHandler(&out, nil)), slow); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if got := strings.Count(out.String(), "still stopping"); got != 2 || !strings.Contains(out.String(), "service=slow") {
			t.Errorf("log names it %d times, want 2:\n%s", got, &out)
		}
	})
}

// Start and stop many groups at once, ended from outside, by a failure and by a panic at any moment:
// every service that was started is over when Run returns, and nothing is left (goleak).
func TestRunStress(t *testing.T) {
	const rounds, size = 300, 5
	var groups sync.WaitGroup
	for round := range rounds {
		groups.Go(func() {
			d := &diary{}
			services := make([]supervise.Service, size)
			for i := range services {
				s := d.service(strconv.Itoa(i))
				if i == round%(size+1) { // in some rounds none fails
					s.run = func(context.Context) error {
						if round%2 == 0 {
							panic("at once")
						}
						return errors.New("at once")
					}
				}
				services[i] = s
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if round%3 == 0 || round%(size+1) == size {
				go cancel()
			}
			_ = supervise.Run(ctx, nil, services...) // both outcomes are right: the cancellation may come first
			d.mu.Lock()
			defer d.mu.Unlock()
			started, stopped := 0, 0
			for _, line := range d.lines {
				switch {
				case strings.HasSuffix(line, "starts"):
					started++
				case strings.HasSuffix(line, "stopped"):
					stopped++
				}
			}
			if started != stopped {
				t.Errorf("round %d: %d started, %d stopped: %q", round, started, stopped, d.lines)
			}
		})
	}
	groups.Wait()
}
