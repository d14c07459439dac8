package listener_test

import (
	"net/netip"
	"testing"

	"github.com/switchbackhq/switchback/services/listener"
)

const guarded = `
listener:
  host: 127.0.0.1
  port: 0
  trusted_proxies: [127.0.0.1]
  callbacks:
    - {path: /allowed, allow_from: [192.0.2.0/24, "2001:db8::1"], identify_by: "${request.remote_addr}"}
    - {path: /rated, rate_limit: 2/h, identify_by: "${body.id}"}
    - {path: /told, when: "${body.kind == 'one'}", identify_by: "one ${body.id}"}
    - {path: /told, when: "${body.kind == 'two'}", identify_by: "two ${body.id}"}
    - {path: /env, identify_by: "${env.SET}"}
`

func TestGuards(t *testing.T) {
	f := &fake{}
	s := start(t, guarded, f, listener.Config{})
	tests := []struct {
		path, body, forwarded string
		status                int
		id                    string
	}{
		{"/allowed", `{}`, "192.0.2.7", 200, "192.0.2.7"},
		{"/allowed", `{}`, "192.0.2.7, 127.0.0.1", 200, "192.0.2.7"},
		{"/allowed", `{}`, "2001:db8::1", 200, "2001:db8::1"},
		{"/allowed", `{}`, "192.0.2.7, 198.51.100.1", 403, ""},
		{"/allowed", `{}`, "192.0.2.7, junk", 403, ""},
		{"/allowed", `{}`, "", 403, ""},
		{"/rated", `{"id":1}`, "", 200, "1"},
		{"/rated", `{}`, "", 422, ""},
		{"/rated", `{"id":1}`, "", 429, ""},
		{"/told", `{"kind":"one","id":1}`, "", 200, "one 1"},
		{"/told", `{"kind":"two","id":1}`, "", 200, "two 1"},
		{"/told", `{"kind":"three","id":1}`, "", 422, ""},
		{"/told", `{`, "", 400, ""},
		{"/env", `{}`, "", 200, "secret of SET"},
	}
	for _, tt := range tests {
		before := len(f.stored())
		r := s.post(tt.path, tt.body, "X-Forwarded-For", tt.forwarded)
		if r.status != tt.status {
			t.Errorf("%s %s from %q: %d %s, want %d", tt.path, tt.body, tt.forwarded, r.status, r.body, tt.status)
		}
		if (r.status == 429) != (r.header.Get("Retry-After") != "") {
			t.Errorf("%d with Retry-After %q", r.status, r.header.Get("Retry-After"))
		}
		if stored := f.stored()[before:]; tt.id == "" && len(stored) > 0 || tt.id != "" && (len(stored) != 1 || stored[0].ID != tt.id) {
			t.Errorf("%s %s from %q stores %+v, want id %q", tt.path, tt.body, tt.forwarded, stored, tt.id)
		}
	}
}

func TestForwardedIsNotBelievedFromOthers(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	addr := netip.MustParseAddr("10.0.0.1")
	for header, want := range map[string]string{
		"":                               "10.0.0.1",
		"203.0.113.9":                    "203.0.113.9",
		"1.2.3.4, 203.0.113.9":           "203.0.113.9",
		"1.2.3.4, 203.0.113.9, 10.0.0.2": "203.0.113.9",
		"10.0.0.3, 10.0.0.2":             "10.0.0.3",
		"1.2.3.4, , 10.0.0.2":            "10.0.0.2",
		"::ffff:203.0.113.9":             "203.0.113.9",
	} {
		if got := listener.Forwarded(trusted, addr, [][]byte{[]byte(header)}); got.String() != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}
