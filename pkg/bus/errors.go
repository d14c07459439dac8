package bus

import (
	"github.com/switchbackhq/switchback/pkg/fault"
)

// What callers tell apart with errors.Is. All else that fails is a fault.Unavailable (try again),
// or the context's error.
var (
	// ErrNotFound says that there is no such message or key.
	ErrNotFound error = fault.New(fault.NotFound, "not found", "")
	// ErrSubject says that a subject or key is too long to be sent. It is no better the next time.
	ErrSubject error = fault.New(fault.Internal, "the subject is too long for NATS, which would close the connection", "use shorter ids")
	// ErrConflict says that an expectation was not met: nothing was stored.
	ErrConflict error = fault.New(fault.Conflict, "changed by someone else meanwhile", "")
)
