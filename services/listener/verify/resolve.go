package verify

import (
	"fmt"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/value"
)

// Resolve makes the Spec of a verification in the compose file, with the values that scope gives its templates. What is
// not set stays, as an empty text, which Compile refuses. Fetch is left for the caller.
func Resolve(v *compose.Verify, scope expr.Scope) (Spec, error) {
	spec := Spec{Type: v.Type, Tolerance: v.Tolerance, Options: map[string][]string{}}
	for i, secret := range v.Secrets {
		texts, err := resolved(secret, scope)
		if err != nil {
			return Spec{}, fault.Wrap(err, fault.Invalid, fmt.Sprintf("verify.secret %d cannot be read", i+1), "check its variable")
		}
		spec.Secrets = append(spec.Secrets, texts...)
	}
	for name, option := range v.Options {
		if text, ok := option.Source().(string); ok && name == "signed" {
			// Not a template to evaluate: it stands for the bytes as received.
			spec.Options[name] = []string{text}
			continue
		}
		texts, err := resolved(option, scope)
		if err != nil {
			return Spec{}, fault.Wrap(err, fault.Invalid, "verify."+name+" cannot be read", "check its variable")
		}
		spec.Options[name] = texts
	}
	return spec, nil
}

// resolved gives a template's value as texts: of a list each item's.
func resolved(t *expr.Template, scope expr.Scope) ([]string, error) {
	v, err := t.Eval(scope)
	if err != nil {
		return nil, err
	}
	items, ok := v.([]any)
	if !ok {
		return []string{value.Text(v)}, nil
	}
	texts := make([]string, 0, len(items))
	for _, item := range items {
		texts = append(texts, value.Text(item))
	}
	return texts, nil
}
