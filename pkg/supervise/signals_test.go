package supervise_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/supervise"
)

func TestSignalsInAProcessOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		mode    string
		signals []os.Signal
		cause   string
		exit    int
	}{
		"one SIGTERM": {"polite", []os.Signal{syscall.SIGTERM}, "received terminated", 0},
		"one SIGINT":  {"polite", []os.Signal{os.Interrupt}, "received interrupt", 0},
		"two SIGTERM": {"stubborn", []os.Signal{syscall.SIGTERM, syscall.SIGTERM}, "received terminated", 143},
		"two SIGINT":  {"stubborn", []os.Signal{os.Interrupt, os.Interrupt}, "received interrupt", 130},
		"one of each": {"stubborn", []os.Signal{os.Interrupt, syscall.SIGTERM}, "received interrupt", 143},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a bound, no verdict
			defer cancel()
			child := exec.CommandContext(ctx, os.Args[0])
			child.Env = append(os.Environ(), childVariable+"="+test.mode)
			child.Stderr = os.Stderr
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			expect := []string{"ready", test.cause}
			for i, s := range test.signals {
				if !lines.Scan() || lines.Text() != expect[i] {
					t.Fatalf("before signal %d the child says %q, want %q", i+1, lines.Text(), expect[i])
				}
				if err := child.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			for lines.Scan() {
				if lines.Text() != test.cause {
					t.Errorf("the child says %q, want %q", lines.Text(), test.cause)
				}
			}
			err = child.Wait()
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				err = nil
				if got := exit.ExitCode(); got != test.exit {
					t.Errorf("exit code = %d, want %d", got, test.exit)
				}
			} else if test.exit != 0 {
				t.Errorf("exit code = 0, want %d", test.exit)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSignalsCauseTellsTheSignal(t *testing.T) {
	ctx, stop := supervise.Signals(t.Context())
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	got, ok := errors.AsType[*supervise.SignalError](context.Cause(ctx))
	if !ok || got.Signal != syscall.SIGTERM || got.ExitCode() != 143 {
		t.Errorf("cause = %v, want SIGTERM", context.Cause(ctx))
	}
	stop()
	stop() // twice is no harm
}

func TestSignalsStopEndsTheContext(t *testing.T) {
	ctx, stop := supervise.Signals(t.Context())
	stop()
	if ctx.Err() == nil {
		t.Error("the context goes on after stop")
	}
	if _, ok := errors.AsType[*supervise.SignalError](context.Cause(ctx)); ok {
		t.Error("no signal came, and the cause is one")
	}
}
