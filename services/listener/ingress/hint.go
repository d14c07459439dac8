package ingress

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// jsonHint helps with the most common slip: JSON sent without its type, as by curl -d.
func (r *Request) jsonHint() string {
	if !looksLikeJSON(r.Body) {
		return ""
	}
	switch r.body.media {
	case mediaForm:
		return "the body looks like JSON, but is declared a form: send Content-Type: application/json"
	case mediaOther:
		return "the body looks like JSON, but is declared as something else: send Content-Type: application/json"
	default:
		return ""
	}
}

// Bounds of what a hint lists.
const (
	hintBody  = 64 << 10 // bytes of a body that is looked through again
	hintNames = 8
	hintName  = 40 // bytes
)

// missingHint tells what there is instead of what a template has not found.
func (r *Request) missingHint(t *expr.Template) string {
	if hint := r.jsonHint(); hint != "" {
		return hint
	}
	source := ""
	for _, ref := range t.References() {
		if ref.Source == "body" || ref.Source == "item" {
			source = ref.Source
			break
		}
	}
	what := "the body"
	if source == "item" && r.item.set {
		what = "the item"
	}
	switch {
	case source == "" || r.body.form == bodyBroken:
		return ""
	case r.body.form == bodyEmpty:
		return "the body is empty"
	case r.body.form == bodyText:
		return "the body is read as text, which has no fields: is its Content-Type right?"
	case len(r.Body) > hintBody:
		return ""
	}
	v, err := r.Resolve(&expr.Reference{Source: source})
	if err != nil {
		return ""
	}
	switch v := v.(type) {
	case map[string]any:
		return what + " has " + names(v)
	case []any:
		return what + " is a list: see bulk and item"
	default:
		return what + " has no fields"
	}
}

// names lists the first names of a map.
func names(m map[string]any) string {
	if len(m) == 0 {
		return "no fields"
	}
	all := slices.Sorted(maps.Keys(m))
	more := len(all) - hintNames
	if more > 0 {
		all = all[:hintNames]
	}
	for i, name := range all {
		if len(name) > hintName {
			all[i] = strings.ToValidUTF8(name[:hintName], "") + "…"
		}
	}
	text := strings.Join(all, ", ")
	if more > 0 {
		text += " and " + strconv.Itoa(more) + " more"
	}
	return text
}
