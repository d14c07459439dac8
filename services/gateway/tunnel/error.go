package tunnel

import (
	"errors"
	"time"
)

// Class is a kind of failure. It decides whether and when a tunnel is tried again.
type Class string

// The classes. Auth, Config and HostKey need a person: they are not tried again.
const (
	Auth     Class = "auth"     // the token, key or password is refused
	Config   Class = "config"   // what is asked for cannot be
	HostKey  Class = "host_key" // the server is not the known one
	Conflict Class = "conflict" // the name or port is held by someone, perhaps by our own ghost
	Quota    Class = "quota"    // too much was asked for: come back in minutes
	Network  Class = "network"  // no way there, for now
	Remote   Class = "remote"   // the other side failed
)

// Permanent tells the classes that trying again does not mend.
func (c Class) Permanent() bool { return c == Auth || c == Config || c == HostKey }

// Error is a tunnel's failure. Message and Hint hold no secret.
type Error struct {
	Class      Class
	Message    string
	Hint       string        // what a person should do
	RetryAfter time.Duration // not sooner than this
	Err        error         // the cause; its text is not shown: it may hold anything
}

// Error gives the message.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Classify gives err as an Error; what no driver has classified is of the network.
func Classify(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Class: Network, Message: err.Error(), Err: err}
}
