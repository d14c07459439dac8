package ingress

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/listener/ingress/rawjson"
)

// projection is a template taken apart at load, so that what it copies from a JSON body is copied as text:
// nothing is decoded that is not looked at, and digits stay as they were sent.
type projection struct {
	kind     projectionKind
	template *expr.Template  // evaluates all of it
	ref      *expr.Reference // copied
	json     []byte          // constant
	keys     [][]byte        // of an object: `"key":`
	parts    []*projection   // of an object or list
	words    []string        // texts to be expected of a scalar
}

type projectionKind uint8

const (
	projectTemplate projectionKind = iota
	projectCopy
	projectConstant
	projectObject
	projectList
)

// newProjection takes t apart; nil for no template.
func newProjection(t *expr.Template) *projection {
	if t == nil {
		return nil
	}
	refs := t.References()
	p := dissect(t.Source(), nil, refs)
	if p == nil {
		p = &projection{kind: projectTemplate}
	}
	p.template = t
	return p
}

// expecting names texts that a scalar often is: they need not be made anew.
func (p *projection) expecting(words ...[]string) *projection {
	if p != nil {
		p.words = slices.Concat(words...)
	}
	return p
}

// dissect gives nil for what only the whole template can evaluate.
func dissect(source any, at []any, refs []expr.Reference) *projection {
	switch s := source.(type) {
	case string:
		return dissectText(s, at, refs)
	case map[string]any:
		p := &projection{kind: projectObject}
		for _, k := range slices.Sorted(maps.Keys(s)) {
			part := dissect(s[k], append(slices.Clip(at), k), refs)
			key, err := value.Encode(k)
			if part == nil || err != nil || strings.HasPrefix(k, "...") {
				return nil
			}
			p.keys, p.parts = append(p.keys, append(key, ':')), append(p.parts, part)
		}
		return p
	case []any:
		p := &projection{kind: projectList}
		for i, e := range s {
			part := dissect(e, append(slices.Clip(at), i), refs)
			if text, ok := e.(string); part == nil || ok && strings.HasPrefix(text, "...") {
				return nil
			}
			p.parts = append(p.parts, part)
		}
		return p
	default:
		return constantProjection(source)
	}
}

func dissectText(s string, at []any, refs []expr.Reference) *projection {
	if !strings.Contains(s, "${") {
		return constantProjection(s)
	}
	sources := map[string]expr.Arg{}
	for i := range refs {
		if r := &refs[i]; reflect.DeepEqual(r.At, at) || len(r.At) == 0 && len(at) == 0 {
			if s == "${"+r.Text+"}" {
				return &projection{kind: projectCopy, ref: r, template: recompiled(s, map[string]expr.Arg{r.Source: expr.NoArg})}
			}
			sources[r.Source] = expr.NoArg
		}
	}
	t := recompiled(s, sources)
	if t == nil {
		return nil
	}
	return &projection{kind: projectTemplate, template: t}
}

// recompiled compiles a part of a template that compiled as a whole.
func recompiled(s string, sources map[string]expr.Arg) *expr.Template {
	t, problems := expr.Compile(s, expr.Rules{Sources: sources})
	if len(problems) > 0 {
		return nil
	}
	return t
}

func constantProjection(v any) *projection {
	text, err := value.Encode(v)
	if err != nil {
		return nil
	}
	return &projection{kind: projectConstant, json: text, template: expr.Literal(v)}
}

// value evaluates the projection.
func (p *projection) value(r *Request) (any, error) { return p.template.Eval(r) }

// toJSON gives the value as JSON. It is a part of the request: of its body, or of the space for what is mapped from it.
func (p *projection) toJSON(r *Request) ([]byte, error) {
	switch p.kind {
	case projectConstant:
		return p.json, nil
	case projectCopy:
		if raw, ok := r.raw(p.ref); ok {
			return orNull(raw), nil
		}
	default:
	}
	start := len(r.mapped)
	mapped, err := p.appendJSON(r.mapped, r)
	if err != nil {
		return nil, err
	}
	r.mapped = mapped
	return mapped[start:len(mapped):len(mapped)], nil
}

func (p *projection) appendJSON(dst []byte, r *Request) ([]byte, error) {
	switch p.kind {
	case projectConstant:
		return append(dst, p.json...), nil
	case projectCopy:
		if raw, ok := r.raw(p.ref); ok {
			return append(dst, orNull(raw)...), nil
		}
	case projectObject, projectList:
		return p.appendParts(dst, r)
	case projectTemplate:
	}
	v, err := p.template.Eval(r)
	if err != nil {
		return nil, err
	}
	text, err := value.Encode(v)
	if err != nil {
		return nil, fmt.Errorf("write the value as JSON: %w", err)
	}
	return append(dst, text...), nil
}

func (p *projection) appendParts(dst []byte, r *Request) ([]byte, error) {
	opening, closing := byte('{'), byte('}')
	if p.kind == projectList {
		opening, closing = '[', ']'
	}
	dst = append(dst, opening)
	for i, part := range p.parts {
		if i > 0 {
			dst = append(dst, ',')
		}
		if p.kind == projectObject {
			dst = append(dst, p.keys[i]...)
		}
		var err error
		if dst, err = part.appendJSON(dst, r); err != nil {
			return nil, err
		}
	}
	return append(dst, closing), nil
}

func orNull(v rawjson.Value) []byte {
	if v == nil {
		return []byte("null")
	}
	return v
}

// scalar is a value as text, for ids and for comparing.
type scalar struct {
	text      string
	null      bool
	composite bool // a map or list, as JSON
}

func (p *projection) scalar(r *Request) (scalar, error) {
	if p.kind == projectCopy {
		if raw, ok := r.raw(p.ref); ok {
			switch raw.Kind() {
			case rawjson.Null:
				return scalar{null: true}, nil
			case rawjson.Object, rawjson.Array: // written in one way only: decoded below
			default:
				return scalar{text: raw.TextOf(p.words)}, nil
			}
		}
	}
	v, err := p.template.Eval(r)
	if err != nil {
		return scalar{}, err
	}
	switch v.(type) {
	case nil:
		return scalar{null: true}, nil
	case map[string]any, []any:
		return scalar{text: value.Text(v), composite: true}, nil
	default:
		return scalar{text: value.Text(v)}, nil
	}
}
