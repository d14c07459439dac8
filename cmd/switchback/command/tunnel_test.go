package command

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/fault"
)

func TestTheServerOfATunnel(t *testing.T) {
	for ssh, want := range map[string]map[string]any{
		"me@example.com":      {"host": "example.com"},
		"me@example.com:2222": {"host": "example.com", "port": 2222},
		"me@[2001:db8::1]:22": {"host": "2001:db8::1", "port": 22},
		"me@[2001:db8::1]":    {"host": "2001:db8::1"},
		"me@2001:db8::1":      {"host": "2001:db8::1"},
		"example.com":         nil,
		"me@":                 nil,
		"@example.com":        nil,
		"me@example.com:ssh":  nil,
	} {
		got, err := (&tunnelCommand{SSH: ssh}).connection()
		delete(got, "auth")
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) || err != nil && fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v\n%s", ssh, err, diff)
		}
	}
}
