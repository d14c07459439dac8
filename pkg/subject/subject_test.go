package subject_test

import (
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/subject"
)

func TestEscape(t *testing.T) {
	for _, tc := range []struct{ id, want string }{
		{"task-123", "task-123"},
		{"run.job.2", "run.job.2"},
		{"", "="},
		{"a..b", "a.=.b"},
		{".", "=.="},
		{"a b", "a=20b"},
		{"a*", "a=2A"},
		{">", "=3E"},
		{"=", "=3D"},
		{"/", "=2F"},
		{"é", "=C3=A9"},
		{"$KV", "=24KV"},
	} {
		if got := subject.Escape(tc.id); got != tc.want {
			t.Errorf("Escape(%q) = %q, want %q", tc.id, got, tc.want)
		}
		if got, err := subject.Unescape(tc.want); err != nil || got != tc.id {
			t.Errorf("Unescape(%q) = %q, %v, want %q", tc.want, got, err, tc.id)
		}
	}
}

func TestUnescapeRejects(t *testing.T) {
	for _, bad := range []string{"", "a..b", "a.", ".a", "=2", "=2f", "=41", "a b", "a*", "=ZZ"} {
		if got, err := subject.Unescape(bad); err == nil {
			t.Errorf("Unescape(%q) = %q, want an error", bad, got)
		}
	}
}

func TestSubjectsRoundTrip(t *testing.T) {
	const id = "a.b c/é"
	for name, f := range map[string]struct {
		subject string
		parse   func(string) (string, error)
	}{
		"callback":   {subject.Callback(id), subject.ParseCallback},
		"timeout":    {subject.Timeout(id), subject.ParseTimeout},
		"wait":       {subject.Wait(id), subject.ParseWait},
		"runRequest": {subject.RunRequest(id), subject.ParseRunRequest},
		"runCancel":  {subject.RunCancel(id), subject.ParseRunCancel},
		"runAbort":   {subject.RunAbort(id), subject.ParseRunAbort},
		"runEvent": {subject.RunEvent(id, "started"), func(s string) (string, error) {
			run, event, err := subject.ParseRunEvent(s)
			if event != "started" {
				t.Errorf("event = %q", event)
			}
			return run, err
		}},
	} {
		if got, err := f.parse(f.subject); err != nil || got != id {
			t.Errorf("%s: %q parses as %q, %v", name, f.subject, got, err)
		}
	}
	for _, wrong := range []string{"", "callback", "callback.", "run.command.x", "run.command.x.stop", "run.event.x"} {
		if _, err := subject.ParseCallback(wrong); err == nil {
			t.Errorf("ParseCallback(%q) succeeded", wrong)
		}
		if _, err := subject.ParseRunCancel(wrong); err == nil {
			t.Errorf("ParseRunCancel(%q) succeeded", wrong)
		}
		if _, err := subject.ParseRunAbort(wrong); err == nil {
			t.Errorf("ParseRunAbort(%q) succeeded", wrong)
		}
		if _, _, err := subject.ParseRunEvent(wrong); err == nil {
			t.Errorf("ParseRunEvent(%q) succeeded", wrong)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", ".", "a.b", "=", " ", "\x00", "=20", "a*>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		escaped := subject.Escape(id)
		if strings.ContainsAny(escaped, " *>\t\r\n$/\x00") || strings.Contains("."+escaped+".", "..") {
			t.Fatalf("Escape(%q) = %q is no literal subject", id, escaped)
		}
		if got, err := subject.Unescape(escaped); err != nil || got != id {
			t.Fatalf("%q -> %q -> %q, %v", id, escaped, got, err)
		}
		if back, err := subject.Unescape(id); err == nil && subject.Escape(back) != id {
			t.Fatalf("%q unescapes to %q, which escapes to %q", id, back, subject.Escape(back))
		}
	})
}

func TestValid(t *testing.T) {
	for s, want := range map[string]bool{
		"a": true, "a.b-c.D_9": true, "$JS.API": true, "a*.b>": true,
		"": false, "a.": false, ".a": false, "a..b": false, "a.*": false, "a.>": false, "*": false, "a b": false, "a\n": false,
	} {
		if subject.Valid(s) != want {
			t.Errorf("%q: %t", s, !want)
		}
	}
}

func TestKind(t *testing.T) {
	for s, want := range map[string][2]string{
		subject.RunRequest("a b"): {subject.KindRequest, "a=20b"},
		subject.Callback("a.b"):   {subject.KindCallback, "a.b"},
		subject.Timeout("x"):      {subject.KindTimeout, "x"},
		"callback.a:b":            {subject.KindCallback, "a:b"}, // another client's
		"callback":                {subject.KindCallback, ""},
		"run.event.x.started":     {"run", "event.x.started"},
	} {
		if kind, id := subject.Kind(s); kind != want[0] || id != want[1] {
			t.Errorf("%s: kind %s, id %s", s, kind, id)
		}
	}
}
