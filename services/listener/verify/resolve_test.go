package verify

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
)

func TestResolve(t *testing.T) {
	variables := map[string]any{"NEW": "new", "OLD": "old", "KEYS": []any{"a", int64(2)}}
	env := func(name string) (string, bool) {
		v, ok := variables[name].(string)
		return v, ok
	}
	doc, err := compose.Parse([]byte(`
listener:
  path: /a
  verify:
    type: hmac
    secrets: ["${env.NEW}", "${env.OLD}", "${env.UNSET}"]
    tolerance: 90s
    header: X-Sig
    timestamp_header: X-Time
    signed: "${header.x-time}.${body}"
    claims: ["n=1", "m=${env.NEW}"]
    version: "${env.UNSET}"
`), env)
	must(t, err)
	got, err := Resolve(doc.Listeners[0].Callbacks[0].Verify, expr.Map{"env": variables})
	must(t, err)
	tolerance := 90 * time.Second
	want := Spec{
		Type: "hmac", Secrets: []string{"new", "old", ""}, Tolerance: &tolerance,
		Options: map[string][]string{
			"header": {"X-Sig"}, "timestamp_header": {"X-Time"}, "signed": {"${header.x-time}.${body}"}, "claims": {"n=1", "m=new"}, "version": {""},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := Compile(got); err == nil || !strings.Contains(err.Error(), "verify.secret 3 is empty") {
		t.Errorf("a variable that is not set: got %v", err)
	}
}

// TestDocumentation: what docs/verification.md says to write can be written.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../../docs/verification.md")
	must(t, err)
	private, other := edKey(1), rsaKey(t)
	variables := map[string]any{
		"DISCORD_PUBLIC_KEY":  strings.Repeat("ab", 32),
		"SENDGRID_PUBLIC_KEY": b64(spki(t, mustECDSA(t))),
		"JWT_PUBLIC_KEY":      pemKey(t, other.Public()),
		"SW_PUBLIC_KEY":       "whpk_" + b64(spki(t, private.Public())[12:]),
	}
	env := func(name string) (string, bool) {
		if _, ok := variables[name]; !ok {
			variables[name] = "whsec_" + b64([]byte(secretText))
			if name == "GITLAB_TOKEN" || strings.HasSuffix(name, "_NAME") {
				variables[name] = "plain"
			}
		}
		return variables[name].(string), true
	}
	shown := map[string]bool{}
	for i, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		doc, err := compose.Parse([]byte(block), env)
		if err != nil {
			t.Errorf("block %d: %v\n%s", i+1, err, block)
			continue
		}
		for _, listener := range doc.Listeners {
			for _, callback := range listener.Callbacks {
				v := callback.Verify
				if v == nil {
					continue
				}
				for _, template := range append(slices.Collect(maps.Values(v.Options)), v.Secrets...) {
					for _, reference := range template.References() {
						if reference.Source == "env" {
							env(reference.Path[0].Name)
						}
					}
				}
				spec, err := Resolve(v, expr.Map{"env": variables})
				must(t, err)
				spec.Fetch = pages{}
				if _, err := Compile(spec); err != nil {
					t.Errorf("block %d: %v\n%s", i+1, err, block)
				}
				shown[v.Type] = true
			}
		}
	}
	for _, kind := range Types() {
		if !shown[kind] {
			t.Errorf("there is no block for %s", kind)
		}
	}
}
