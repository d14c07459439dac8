package supervise

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// SignalError is the cause of a context that a signal ended.
type SignalError struct{ Signal os.Signal }

// Error names the signal.
func (s *SignalError) Error() string { return "received " + s.Signal.String() }

// ExitCode is what a shell calls a process that ended by this signal: 128 and its number.
func (s *SignalError) ExitCode() int {
	if n, ok := s.Signal.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 1
}

// Signals gives a context that SIGINT or SIGTERM ends, with a [SignalError] as its cause. A second signal
// ends the process at once, with the exit code 130 or 143. stop gives the signals back to the Go runtime.
func Signals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	quit := make(chan struct{})
	var owned sync.WaitGroup
	owned.Go(func() {
		select {
		case s := <-signals:
			cancel(&SignalError{Signal: s})
		case <-quit:
			return
		}
		select {
		case s := <-signals:
			os.Exit((&SignalError{Signal: s}).ExitCode()) //nolint:forbidigo // "at once" is what the second signal asks for
		case <-quit:
		}
	})
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		close(quit)
		owned.Wait()
		cancel(context.Canceled)
	})
}
