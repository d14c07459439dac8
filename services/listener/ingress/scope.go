package ingress

import (
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/services/listener/ingress/rawjson"
)

// Resolve gives the value of a reference: a Request is the scope of its endpoint's templates.
func (r *Request) Resolve(ref *expr.Reference) (any, error) {
	switch ref.Source {
	case "body":
		if err := r.Read(); err != nil {
			return nil, err
		}
		return r.body.value(ref.Path)
	case "item":
		return r.itemValue(ref.Path)
	case "query":
		return r.queryFields().resolve(ref.Path), nil
	case "header":
		return r.header(ref.Path), nil
	case "path":
		return r.param(ref.Path), nil
	case "request":
		return r.about(ref.Path), nil
	case "env":
		return r.env(ref.Path), nil
	default:
		return nil, nil //nolint:nilnil // unknown sources are refused when the file is loaded
	}
}

// raw gives the JSON text of a reference without decoding it, where that can be had.
func (r *Request) raw(ref *expr.Reference) (rawjson.Value, bool) {
	switch {
	case ref.Source == "item" && r.item.set:
		if !r.item.isRaw {
			return nil, false
		}
		return walkRaw(r.item.raw, ref.Path)
	case ref.Source == "item" || ref.Source == "body":
		if r.Read() != nil {
			return nil, false
		}
		return r.body.raw(ref.Path)
	default:
		return nil, false
	}
}

func (r *Request) itemValue(path expr.Path) (any, error) {
	switch {
	case !r.item.set:
		if err := r.Read(); err != nil {
			return nil, err
		}
		return r.body.value(path)
	case r.item.isRaw:
		return decodeRaw(r.item.raw, path)
	default:
		return expr.Walk(r.item.value, path), nil
	}
}

func (r *Request) queryFields() fields {
	if !r.parsed {
		r.query, _ = parseFields(r.query[:0], r.Query)
		r.parsed = true
	}
	return r.query
}

// header gives ${header.x…}: the values of the name joined by commas, each of them for x[*] and x[0].
func (r *Request) header(path expr.Path) any {
	if r.Header == nil {
		return nil
	}
	if len(path) == 0 {
		return r.headers()
	}
	if path[0].Kind != expr.Name {
		return nil
	}
	values := r.Header.PeekAll(path[0].Name)
	if len(values) == 0 {
		return nil
	}
	if rest := path[1:]; len(rest) > 0 {
		list := make([]any, len(values))
		for i, v := range values {
			list[i] = string(v)
		}
		return expr.Walk(list, rest)
	}
	return headerText(values)
}

// headers is all of them by their names in lower case.
func (r *Request) headers() map[string]any {
	m := map[string]any{}
	for name, v := range r.Header.All() {
		key := strings.ToLower(string(name))
		if before, ok := m[key].(string); ok {
			m[key] = before + ", " + string(v)
		} else {
			m[key] = string(v)
		}
	}
	return m
}

func (r *Request) param(path expr.Path) any {
	if len(path) == 0 {
		m := make(map[string]any, len(r.Params))
		for _, p := range r.Params {
			m[p.Name] = p.Value
		}
		return m
	}
	for _, p := range r.Params {
		if path[0].Kind == expr.Name && p.Name == path[0].Name {
			return expr.Walk(p.Value, path[1:])
		}
	}
	return nil
}

// about is ${request…}.
func (r *Request) about(path expr.Path) any {
	remote := ""
	if r.Remote.IsValid() {
		remote = r.Remote.String()
	}
	return expr.Walk(map[string]any{
		"method": r.Method, "path": r.Path, "remote_addr": remote, "id": r.ID,
		"received_at": r.ReceivedAt.UTC().Format(time.RFC3339Nano),
	}, path)
}

func (r *Request) env(path expr.Path) any {
	if len(path) == 0 || path[0].Kind != expr.Name || r.Env == nil {
		return nil
	}
	if v, ok := r.Env(path[0].Name); ok {
		return expr.Walk(v, path[1:])
	}
	return nil
}
