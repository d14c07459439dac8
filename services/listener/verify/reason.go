package verify

import (
	"errors"
	"fmt"
	"strings"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Reason is why a request was not verified. It is in the chain of every error that Verify returns.
type Reason string

// The reasons. All are the sender's, and answered 401, but Unavailable, which is answered 503.
const (
	Missing     Reason = "missing"     // no signature at all
	Malformed   Reason = "malformed"   // a signature that cannot be one
	Wrong       Reason = "wrong"       // a signature of something else, or by someone else
	Stale       Reason = "stale"       // genuine, but too old
	Future      Reason = "future"      // genuine, but from a clock that is too far ahead
	Unavailable Reason = "unavailable" // the keys to check it with cannot be had now
)

// Error gives the reason's name.
func (r Reason) Error() string { return string(r) }

// ReasonOf gives the reason in err's chain, or "".
func ReasonOf(err error) Reason {
	r, _ := errors.AsType[Reason](err)
	return r
}

func refuse(reason Reason, message, hint string) error {
	return fault.Wrap(reason, fault.Unauthorized, message, hint)
}

// because refuses with a cause that is for the log, not for the sender.
func because(reason Reason, message, hint string, cause error) error {
	return fault.Wrap(fmt.Errorf("%w: %w", reason, cause), fault.Unauthorized, message, hint)
}

func missing(what string) error {
	return refuse(Missing, what+" is missing", "send it as the provider's documentation says, and check that no proxy removes it")
}

func malformed(what, want string) error {
	return refuse(Malformed, what+" cannot be read", "it is expected to be "+want)
}

func wrong(what string) error {
	return refuse(Wrong, what+" does not match", "check that the secret or key under verify is the provider's for this endpoint, and that nothing changes the body on its way")
}

// wrongURL is wrong for a scheme that signs the address. The addresses tried are in the cause, for the log alone.
func wrongURL(what string, r *Request) error {
	return because(Wrong, what+" does not match",
		"check verify.secret, and that public_url is the address that the provider was given",
		fmt.Errorf("tried %s with %s", strings.Join(r.Bases, ", "), r.Path()))
}

func unavailable(what string, cause error) error {
	return fault.Wrap(fmt.Errorf("%w: %w", Unavailable, cause), fault.Unavailable, what+" cannot be had now", "try again later")
}
