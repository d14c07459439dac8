// Package fault is the project's error type: what kind of fault, what was being done, and what a person should do next.
package fault

import (
	"errors"
	"net/http"
)

// Code is a kind of fault. It decides the HTTP status and the exit code.
type Code string

// The kinds of fault.
const (
	Invalid      Code = "invalid"       // 400: cannot be read
	Unauthorized Code = "unauthorized"  // 401
	Forbidden    Code = "forbidden"     // 403
	NotFound     Code = "not_found"     // 404
	Method       Code = "method"        // 405
	Conflict     Code = "conflict"      // 409
	TooLarge     Code = "too_large"     // 413
	Unusable     Code = "unprocessable" // 422: read, but not usable
	TooMany      Code = "too_many"      // 429
	Internal     Code = "internal"      // 500
	Unavailable  Code = "unavailable"   // 503: try again later
	Timeout      Code = "timeout"       // 504
	Cancelled    Code = "cancelled"     // 499
	Usage        Code = "usage"         // exit code 2: the command's words are off
)

var statuses = map[Code]int{
	Invalid: http.StatusBadRequest, Unauthorized: http.StatusUnauthorized, Forbidden: http.StatusForbidden,
	NotFound: http.StatusNotFound, Method: http.StatusMethodNotAllowed, Conflict: http.StatusConflict,
	TooLarge: http.StatusRequestEntityTooLarge, Unusable: http.StatusUnprocessableEntity,
	TooMany: http.StatusTooManyRequests, Internal: http.StatusInternalServerError,
	Unavailable: http.StatusServiceUnavailable, Timeout: http.StatusGatewayTimeout,
	Cancelled: 499, Usage: http.StatusBadRequest,
}

// Error is a fault. Message is fit for the person who asked, Hint says what to do next, Err is the cause for the log.
type Error struct {
	Code    Code
	Message string
	Hint    string
	Err     error
}

// New makes a fault without a cause.
func New(code Code, message, hint string) *Error {
	return &Error{Code: code, Message: message, Hint: hint}
}

// Wrap makes a fault with a cause, which errors.Is and errors.As see.
func Wrap(err error, code Code, message, hint string) *Error {
	return &Error{Code: code, Message: message, Hint: hint, Err: err}
}

// Error gives the message and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf gives the code of the outermost fault in err's chain, Internal where there is none, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Code
	}
	return Internal
}

// HintOf gives the first hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		f, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if f.Hint != "" {
			return f.Hint
		}
		err = f.Err
	}
	return ""
}

// HTTPStatus gives the status that answers err; 200 for nil.
func HTTPStatus(err error) int {
	if err == nil {
		return http.StatusOK
	}
	if status, ok := statuses[CodeOf(err)]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// ExitCode gives the exit code of a command that ends with err: 0 for nil, 2 for Usage, else 1.
func ExitCode(err error) int {
	switch CodeOf(err) {
	case "":
		return 0
	case Usage:
		return 2
	default:
		return 1
	}
}
