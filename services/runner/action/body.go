package action

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"mime/multipart"
	"net/url"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/value"
)

// encodeBody writes a body as its type says (json, form, multipart, raw), or else as its content type does: without
// either, text as it is and everything else as JSON. A null body is none.
func encodeBody(body any, bodyType, contentType string) (payload []byte, newType string, err error) {
	if body == nil {
		return nil, contentType, nil
	}
	kind, _, _ := mime.ParseMediaType(contentType)
	s, isText := body.(string)
	m, isMap := body.(map[string]any)
	if bodyType == "" {
		bodyType = typeOf(kind, body)
	}
	switch bodyType {
	case "form":
		if !isMap {
			return nil, "", fmt.Errorf("a form is made of a map, and this is %T", body)
		}
		return []byte(form(m).Encode()), orDefault(contentType, "application/x-www-form-urlencoded"), nil
	case "multipart":
		if !isMap {
			return nil, "", fmt.Errorf("a form is made of a map, and this is %T", body)
		}
		return multipartForm(m)
	case "raw":
		return []byte(value.Text(body)), orDefault(contentType, "text/plain; charset=utf-8"), nil
	}
	if isText && isJSON(kind) && json.Valid([]byte(s)) {
		return []byte(s), contentType, nil // JSON written by hand goes as it is
	}
	payload, err = value.Encode(body)
	return payload, orDefault(contentType, "application/json"), err
}

// typeOf is the type of a body that names none.
func typeOf(contentType string, body any) string {
	_, isText := body.(string)
	_, isMap := body.(map[string]any)
	switch {
	case contentType == "application/x-www-form-urlencoded" && isMap:
		return "form"
	case contentType == "multipart/form-data" && isMap:
		return "multipart"
	case isText && !isJSON(contentType):
		return "raw"
	default:
		return "json"
	}
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func isJSON(kind string) bool {
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

func form(m map[string]any) url.Values {
	values := url.Values{}
	for name, v := range m {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, item := range list {
			if item != nil {
				values.Add(name, value.Text(item))
			}
		}
	}
	return values
}

func multipartForm(m map[string]any) ([]byte, string, error) {
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for _, name := range sortedKeys(m) {
		if m[name] == nil {
			continue
		}
		if err := w.WriteField(name, value.Text(m[name])); err != nil {
			return nil, "", fmt.Errorf("field %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return buf.Bytes(), w.FormDataContentType(), nil
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
