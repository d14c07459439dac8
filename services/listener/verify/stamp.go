package verify

import (
	"strconv"
	"time"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// unit is how a provider writes a time.
type unit int

const (
	seconds unit = iota // of Unix time
	millis              // of Unix time
	rfc3339
	anyUnit // whichever it looks like
)

// describe names the unit in a hint.
func (u unit) describe() string {
	switch u {
	case seconds:
		return "a Unix time in seconds"
	case millis:
		return "a Unix time in milliseconds"
	case rfc3339:
		return "a time such as 2006-01-02T15:04:05Z"
	default:
		return "a Unix time or one such as 2006-01-02T15:04:05Z"
	}
}

// parse reads a time, strictly: digits alone, so that there is one way to write it.
func (u unit) parse(text string) (time.Time, bool) {
	if u == rfc3339 || u == anyUnit && !digits(text) {
		t, err := time.Parse(time.RFC3339, text)
		return t, err == nil
	}
	if !digits(text) || len(text) > 18 {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	switch {
	case u == millis, u == anyUnit && len(text) == 13:
		return time.UnixMilli(n), true
	case u == anyUnit && len(text) == 16:
		return time.UnixMicro(n), true
	default:
		return time.Unix(n, 0), true
	}
}

func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}

// age refuses a time that is further from now than tolerance, in either direction. A tolerance of 0 allows any, and
// does not even look at the text.
func age(now time.Time, what, text string, u unit, tolerance time.Duration) error {
	if tolerance == 0 {
		return nil
	}
	at, ok := u.parse(text)
	if !ok {
		return malformed(what, u.describe())
	}
	return fresh(now, at, tolerance)
}

func fresh(now, at time.Time, tolerance time.Duration) error {
	// Sub saturates, so a time thousands of years off stays on its side.
	switch old := now.Sub(at); {
	case old > tolerance:
		return fault.Wrap(Stale, fault.Unauthorized, "the request was signed "+off(old)+" ago, and "+tolerance.String()+" is allowed",
			"send it again with a new signature, or raise verify.tolerance")
	case old < -tolerance:
		return fault.Wrap(Future, fault.Unauthorized, "the request was signed "+off(-(old+1))+" in the future, and "+tolerance.String()+" is allowed",
			"set the clocks of both sides, or raise verify.tolerance")
	}
	return nil
}

func off(d time.Duration) string { return d.Round(time.Second).String() }
