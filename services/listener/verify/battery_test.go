package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// pages is a web of its own: what is at which address.
type pages map[string]string

func (p pages) Fetch(_ context.Context, url string) ([]byte, error) {
	body, ok := p[url]
	if !ok {
		return nil, fmt.Errorf("nothing is at %s", url)
	}
	return []byte(body), nil
}

func compiled(t testing.TB, spec Spec) *Verifier {
	t.Helper()
	v, err := Compile(spec)
	if err != nil {
		t.Fatalf("compiling %s: %v", spec.Type, err)
	}
	return v
}

func (s sender) signature(r *Request) string {
	if s.carrier != "" {
		return r.Header.Values(s.carrier)[0]
	}
	_, rest, _ := strings.Cut(string(r.Body), `"Signature":"`)
	if rest == "" {
		_, rest, _ = strings.Cut(string(r.Body), `"signature":"`)
	}
	text, _, _ := strings.Cut(rest, `"`)
	return text
}

func (s sender) setSignature(r *Request, text string) {
	if s.carrier != "" {
		r.Header.(http.Header).Set(s.carrier, text)
		return
	}
	r.Body = []byte(strings.Replace(string(r.Body), s.signature(r), text, 1))
}

// refused checks that a request is refused for one of the reasons, with 401, and without showing what would be right.
func refused(t *testing.T, v *Verifier, r *Request, what string, reasons ...Reason) {
	t.Helper()
	_, err := v.Verify(t.Context(), r)
	switch {
	case err == nil:
		t.Errorf("%s: accepted", what)
	case !slices.Contains(reasons, ReasonOf(err)):
		t.Errorf("%s: got %q (%v), want one of %q", what, ReasonOf(err), err, reasons)
	case fault.HTTPStatus(err) != http.StatusUnauthorized:
		t.Errorf("%s: answered %d", what, fault.HTTPStatus(err))
	}
	if err != nil && (strings.Contains(err.Error(), secretText) || fault.HintOf(err) == "" || strings.Contains(fault.HintOf(err), secretText)) {
		t.Errorf("%s: the error shows a secret or has no hint: %v (%s)", what, err, fault.HintOf(err))
	}
}

// TestSenders tries every kind of sender with what is right, and with everything that is nearly right.
func TestSenders(t *testing.T) {
	kinds := map[string]bool{}
	for _, s := range senders(t) {
		kinds[s.spec.Type] = true
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			v := compiled(t, s.spec)
			right := func() *Request { return s.send(now, s.body) }

			result, err := v.Verify(t.Context(), right())
			if err != nil {
				t.Fatalf("a genuine request: %v", err)
			}
			if result.DeliveryID != s.delivery || result.ItemID != s.item {
				t.Errorf("got %+v, want delivery %q and item %q", result, s.delivery, s.item)
			}
			s.altered(t, v)
			s.signatures(t, v)
			if s.timed {
				s.times(t, v)
			} else {
				spec, minute := s.spec, time.Minute
				spec.Tolerance = &minute
				if _, err := Compile(spec); err == nil {
					t.Error("a tolerance was accepted where no time is signed")
				}
			}
			s.secrets(t)
		})
	}
	for _, kind := range Types() {
		if !kinds[kind] {
			t.Errorf("%s is not tried", kind)
		}
	}
}

// altered sends a genuine signature with another body.
func (s sender) altered(t *testing.T, v *Verifier) {
	t.Helper()
	if s.unsignedBody {
		return
	}
	at := strings.LastIndex(s.body, "e") // within a text, so that it stays JSON
	for what, change := range map[string]func(string) string{
		"one byte is another":   func(b string) string { return b[:at] + "f" + b[at+1:] },
		"one byte is missing":   func(b string) string { return b[:at] + b[at+1:] },
		"one byte is there too": func(b string) string { return b[:at] + "e" + b[at:] },
	} {
		genuine := s.send(now, s.body)
		forged := s.send(now, change(s.body))
		forged.Target = genuine.Target
		s.setSignature(forged, s.signature(genuine))
		refused(t, v, forged, what, Wrong)
	}
	empty := s.send(now, s.body)
	empty.Body = nil
	refused(t, v, empty, "no body", Wrong, Malformed, Missing)
}

// signatures sends signatures that are nearly the right one.
func (s sender) signatures(t *testing.T, v *Verifier) {
	t.Helper()
	right := s.signature(s.send(now, s.body))
	swap := func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 32
		case c >= 'A' && c <= 'Z':
			return c + 32
		}
		return c
	}
	flip := func(text string, i int) string {
		b := []byte(text)
		if b[i] ^= 1; b[i] == '<' || b[i] < ' ' {
			b[i] = 'Z'
		}
		return string(b)
	}
	changed := map[string]string{
		"blank":                    " ",
		"cut by one at its end":    right[:len(right)-1],
		"cut by one at its start":  right[1:],
		"cut in half":              right[:len(right)/2],
		"cut at the start of it":   right[len(right)/2:],
		"with one more at its end": right + "0",
		"with padding at its end":  right + "=",
		"twice":                    right + right,
		"in the other case":        strings.Map(swap, right),
		"in upper case":            strings.ToUpper(right),
		"with a line's end":        right[:len(right)-4] + "\n" + right[len(right)-4:],
		"with a zero byte":         right + "\x00",
		"of zeros":                 strings.Repeat("0", len(right)),
		"something else":           "sha256=",
		"of a very long text":      strings.Repeat("v1,AAAA ", 5000),
	}
	changed["with its last byte changed"] = flip(right, len(right)-5)
	if end := strings.TrimRight(right, "="); end != right { // bits of the last letter that mean nothing
		changed["with other bits behind its end"] = end[:len(end)-1] + string(end[len(end)-1]+1) + right[len(end):]
	}
	for _, what := range slices.Sorted(maps.Keys(changed)) {
		if changed[what] == right {
			continue
		}
		r := s.send(now, s.body)
		if s.carrier == "" {
			changed[what] = strings.NewReplacer("\n", `\n`, "\x00", ` `).Replace(changed[what])
		}
		s.setSignature(r, changed[what])
		refused(t, v, r, "a signature "+what, Wrong, Malformed, Missing)
	}
	r := s.send(now, s.body)
	s.setSignature(r, "")
	refused(t, v, r, "an empty signature", Missing)
	if s.carrier == "" {
		return
	}
	r = s.send(now, s.body)
	r.Header.(http.Header).Del(s.carrier)
	refused(t, v, r, "no signature", Missing)
	r = s.send(now, s.body)
	r.Header.(http.Header).Add(s.carrier, right)
	refused(t, v, r, "a signature in two headers", Malformed)
	r = s.send(now, s.body)
	r.Header.(http.Header).Set(s.carrier, right+","+right)
	refused(t, v, r, "a signature twice in one header", Wrong, Malformed)
}

// times sends genuine signatures from other times.
func (s sender) times(t *testing.T, v *Verifier) {
	t.Helper()
	for _, step := range []time.Duration{-s.tolerance, -s.tolerance / 2, s.tolerance / 2, s.tolerance} {
		if _, err := v.Verify(t.Context(), s.send(now.Add(step), s.body)); err != nil {
			t.Errorf("signed %s from now: %v", step, err)
		}
	}
	refused(t, v, s.send(now.Add(-s.tolerance-time.Second), s.body), "a second too old", Stale)
	refused(t, v, s.send(now.Add(s.tolerance+time.Second), s.body), "a second too new", Future)
	refused(t, v, s.send(now.AddDate(-10, 0, 0), s.body), "ten years old", Stale)
	refused(t, v, s.send(now.AddDate(100, 0, 0), s.body), "a hundred years ahead", Future)

	with := func(tolerance time.Duration) *Verifier {
		spec := s.spec
		spec.Tolerance = &tolerance
		return compiled(t, spec)
	}
	anyAge := with(0)
	for _, step := range []time.Duration{-20 * time.Hour, 20 * time.Hour} {
		if _, err := anyAge.Verify(t.Context(), s.send(now.Add(step), s.body)); err != nil {
			t.Errorf("tolerance 0, signed %s from now: %v", step, err)
		}
	}
	hour := with(time.Hour)
	if _, err := hour.Verify(t.Context(), s.send(now.Add(-time.Hour), s.body)); err != nil {
		t.Errorf("tolerance 1h, an hour old: %v", err)
	}
	refused(t, hour, s.send(now.Add(-time.Hour-time.Second), s.body), "tolerance 1h, older", Stale)
	spec, negative := s.spec, -time.Second
	spec.Tolerance = &negative
	if _, err := Compile(spec); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("a negative tolerance: got %v", err)
	}
}

// secrets tries other keys, several, and none.
func (s sender) secrets(t *testing.T) {
	t.Helper()
	refused(t, compiled(t, s.other), s.send(now, s.body), "by another key", Wrong)

	both := s.spec
	switch {
	case len(s.spec.Secrets) > 0:
		for _, secrets := range [][]string{{s.other.Secrets[0], s.spec.Secrets[0]}, {s.spec.Secrets[0], s.other.Secrets[0]}} {
			both.Secrets = secrets
			if _, err := compiled(t, both).Verify(t.Context(), s.send(now, s.body)); err != nil {
				t.Errorf("with two secrets: %v", err)
			}
		}
		for what, secrets := range map[string][]string{"none": nil, "an empty one": {""}, "a blank one": {" \n"}, "an empty one beside": {s.spec.Secrets[0], ""}} {
			bad := s.spec
			bad.Secrets = secrets
			if _, err := Compile(bad); fault.CodeOf(err) != fault.Invalid || fault.HintOf(err) == "" {
				t.Errorf("secrets: %s: got %v", what, err)
			}
		}
	case len(s.spec.Options["public_key"]) > 0:
		both.Options = maps.Clone(s.spec.Options)
		both.Options["public_keys"] = s.other.Options["public_key"]
		if _, err := compiled(t, both).Verify(t.Context(), s.send(now, s.body)); err != nil {
			t.Errorf("with two keys: %v", err)
		}
		for what, keys := range map[string][]string{"none": nil, "an empty one": {""}, "nonsense": {"nonsense"}} {
			bad := s.spec
			bad.Options = maps.Clone(s.spec.Options)
			bad.Options["public_key"] = keys
			if _, err := Compile(bad); fault.CodeOf(err) != fault.Invalid {
				t.Errorf("public keys: %s: got %v", what, err)
			}
		}
	case s.spec.Fetch != nil:
		bad := s.spec
		bad.Fetch = nil
		if _, err := Compile(bad); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("no fetcher: got %v", err)
		}
		bad.Fetch = pages{}
		_, err := compiled(t, bad).Verify(t.Context(), s.send(now, s.body))
		if ReasonOf(err) != Unavailable || fault.HTTPStatus(err) != http.StatusServiceUnavailable {
			t.Errorf("keys that cannot be fetched: got %v, %d", err, fault.HTTPStatus(err))
		}
	default:
		t.Error("there is neither a secret nor a key")
	}
}

func TestReasonIsInTheChain(t *testing.T) {
	if err := because(Wrong, "m", "h", errors.New("cause")); !errors.Is(err, Wrong) || ReasonOf(err) != Wrong {
		t.Errorf("got %v", err)
	}
	if ReasonOf(errors.New("other")) != "" || ReasonOf(nil) != "" {
		t.Error("a reason out of nowhere")
	}
}
