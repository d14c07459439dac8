package ingress

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/listener/ingress/rawjson"
)

// body is a request's body once it is read: JSON text, fields, or a string. JSON is checked, and decoded only
// as far as templates need it.
type body struct {
	form  bodyForm
	err   error
	media media
	doc   rawjson.Document
	list  fields
	text  string
}

type bodyForm uint8

const (
	bodyUnread bodyForm = iota
	bodyBroken
	bodyEmpty
	bodyJSON
	bodyFields
	bodyText
)

// Read reads the body. It does so once; the error is a fault.Invalid or fault.TooLarge.
func (r *Request) Read() error {
	if r.body.form == bodyUnread {
		if r.body.form, r.body.err = r.readBody(); r.body.err != nil {
			r.body.form = bodyBroken
		}
	}
	return r.body.err
}

func (r *Request) readBody() (bodyForm, error) {
	data := r.Body
	if int64(len(data)) > r.MaxBody {
		return 0, tooLarge(r.MaxBody)
	}
	if encoding := r.contentHeader("Content-Encoding"); len(encoding) > 0 {
		var err error
		if data, err = expand(string(encoding), data, r.MaxBody); err != nil {
			return 0, err
		}
	}
	t := parseContentType(r.contentHeader("Content-Type"))
	r.body.media = t.media
	switch {
	case len(bytes.TrimSpace(data)) == 0 && t.media != mediaOther, len(data) == 0:
		return bodyEmpty, nil
	case t.media == mediaJSON:
		return bodyJSON, r.readJSON(t.charset, data)
	case t.media == mediaForm:
		return bodyFields, r.readForm(t.charset, data)
	case t.media == mediaMultipart:
		var err error
		r.body.list, err = parseMultipart(t.boundary, data)
		return bodyFields, err
	case t.media == mediaNone && looksLikeJSON(data) && r.body.doc.Parse(data) == nil:
		return bodyJSON, nil
	default:
		r.body.text = stringOf(t.charset, data)
		return bodyText, nil
	}
}

func (r *Request) readJSON(charset string, data []byte) error {
	data, err := toUTF8(charset, data)
	if err != nil {
		return err
	}
	if err := r.body.doc.Parse(data); err != nil {
		return fault.Wrap(err, fault.Invalid, "the body is not well-formed JSON", "")
	}
	return nil
}

func (r *Request) readForm(charset string, data []byte) error {
	data, err := toUTF8(charset, data)
	if err != nil {
		return err
	}
	var clean bool
	if r.body.list, clean = parseFields(nil, string(data)); !clean {
		if len(r.body.list) >= maxFields {
			return fault.New(fault.TooLarge, fmt.Sprintf("the body has more than %d fields", maxFields), "send fewer at once")
		}
		return fault.New(fault.Invalid, "the body is not a well-formed form", r.jsonHint())
	}
	return nil
}

func looksLikeJSON(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && (data[0] == '{' || data[0] == '[')
}

// raw gives the JSON text that a path into the body leads to, nil where nothing is there. It is not ok where the
// body is no JSON, or the path needs decoding.
func (b *body) raw(path expr.Path) (v rawjson.Value, ok bool) {
	if b.form != bodyJSON {
		return nil, false
	}
	if len(path) > 0 && path[0].Kind == expr.Name {
		return walkRaw(b.doc.Member(path[0].Name), path[1:])
	}
	return walkRaw(b.doc.Root(), path)
}

func walkRaw(v rawjson.Value, path expr.Path) (rawjson.Value, bool) {
	for _, s := range path {
		switch s.Kind {
		case expr.Name:
			v = v.Member(s.Name)
		case expr.Index:
			v = v.Index(s.Index)
		default:
			return nil, false
		}
	}
	return v, true
}

// decodeRaw gives the value that a path into JSON text leads to.
func decodeRaw(v rawjson.Value, path expr.Path) (any, error) {
	for i, s := range path {
		switch {
		case v == nil:
			return nil, nil //nolint:nilnil // what is missing is null
		case s.Kind == expr.Name:
			v = v.Member(s.Name)
		case s.Kind == expr.Index:
			v = v.Index(s.Index)
		default:
			decoded, err := value.Decode(v)
			return expr.Walk(decoded, path[i:]), err
		}
	}
	if v == nil {
		return nil, nil //nolint:nilnil // what is missing is null
	}
	return value.Decode(v)
}

// value gives what a path into the body leads to.
func (b *body) value(path expr.Path) (any, error) {
	switch b.form {
	case bodyJSON:
		if len(path) > 0 && path[0].Kind == expr.Name {
			return decodeRaw(b.doc.Member(path[0].Name), path[1:])
		}
		return decodeRaw(b.doc.Root(), path)
	case bodyFields:
		return b.list.resolve(path), nil
	case bodyText:
		return expr.Walk(b.text, path), nil
	default:
		return nil, nil //nolint:nilnil // an empty body is null
	}
}

// headerText joins the values of one name, as RFC 9110 allows.
func headerText(values [][]byte) string {
	if len(values) == 1 {
		return string(values[0])
	}
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return strings.Join(texts, ", ")
}
