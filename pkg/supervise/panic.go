package supervise

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// PanicError is a panic in a service's own goroutine. Goroutines that the service starts are its own to guard.
type PanicError struct {
	Value any
	Stack []byte
}

// Error gives the value and where it was thrown.
func (p *PanicError) Error() string {
	return fmt.Sprintf("panic: %v\n%s", p.Value, p.Stack)
}

// Unwrap gives the value when it is an error.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// errExited is what a service has done that ended its goroutine without returning.
var errExited = errors.New("the service's goroutine ended without returning (runtime.Goexit)")

// call runs s and turns a panic into an error.
func call(ctx context.Context, s Service) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return s.Run(ctx)
}
