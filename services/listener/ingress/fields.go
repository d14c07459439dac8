package ingress

import (
	"net/url"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// fields are named values in the order they came: a query, a form. A name may come several times.
type fields []field

type field struct {
	name  string
	value any // a string, or a file's map
}

// maxFields bounds the fields of one request.
const maxFields = 10_000

// parseFields reads a query or an urlencoded form. What is not well escaped is kept as it is written, and told by clean.
func parseFields(list fields, text string) (_ fields, clean bool) {
	clean = true
	for text != "" && len(list) < maxFields {
		var pair string
		pair, text, _ = strings.Cut(text, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		n, ok := unescape(name)
		v, ok2 := unescape(value)
		clean = clean && ok && ok2
		list = append(list, field{name: n, value: v})
	}
	return list, clean && text == ""
}

func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, true
	}
	u, err := url.QueryUnescape(s)
	if err != nil {
		return s, false
	}
	return u, true
}

// resolve gives ${query.x…}: the last value of x, all of them for x[*], one of them for x[0]. Without a path it is
// a map, with a list where a name came several times.
func (f fields) resolve(path expr.Path) any {
	if len(path) == 0 {
		return f.all()
	}
	if path[0].Kind != expr.Name {
		return expr.Walk(f.all(), path)
	}
	name, rest := path[0].Name, path[1:]
	if len(rest) > 0 && rest[0].Kind != expr.Name {
		var values []any
		for _, e := range f {
			if e.name == name {
				values = append(values, e.value)
			}
		}
		if values == nil {
			return nil
		}
		return expr.Walk(values, rest)
	}
	for _, e := range slices.Backward(f) {
		if e.name == name {
			return expr.Walk(e.value, rest)
		}
	}
	return nil
}

func (f fields) all() map[string]any {
	m := make(map[string]any, len(f))
	counts := make(map[string]int, len(f))
	for _, e := range f {
		switch counts[e.name]++; counts[e.name] {
		case 1:
			m[e.name] = e.value
		case 2:
			m[e.name] = []any{m[e.name], e.value}
		default:
			m[e.name] = append(m[e.name].([]any), e.value) //nolint:forcetypeassert // made two lines above
		}
	}
	return m
}
