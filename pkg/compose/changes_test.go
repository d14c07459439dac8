package compose_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
)

func TestChanges(t *testing.T) {
	const was = `
listener: {path: /done}
components:
  one: {type: logger, message: a}
  two: {type: logger, message: b}
workflows:
  - {id: a, component: one}
  - {id: b, component: two}
`
	for name, tc := range map[string]struct {
		is   string
		want []string
	}{
		"nothing": {was, nil},
		"another layout, and a comment": {`
# The same.
listeners: [{path: /done}]
components: {two: {message: b, type: logger}, one: {type: logger, message: a}}
workflows:
  a: {component: one}
  b: {component: two}
`, nil},
		"each kind of change": {`
listener: {path: /done, port: 8095}
gateway: {type: ssh-tunnel, port: 8095, connection: {host: h, auth: {type: agent, username: u}}}
components:
  two: {type: logger, message: b}
workflows:
  - {id: b, component: two}
  - {id: c, component: two}
controller: {port: 8089}
`, []string{"listener changed", "gateway added", "workflow c added", "controller added", "component one removed", "workflow a removed"}},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := compose.Parse([]byte(was), nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := compose.Parse([]byte(tc.is), nil)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, compose.Changes(a, b)); d != "" {
				t.Error(d)
			}
		})
	}
}
