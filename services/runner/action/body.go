package action

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

const jsonType = "application/json"

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
			return nil, "", fmt.Errorf("a form is made of a map, and this is %s", expr.KindOf(body))
		}
		return []byte(form(m).Encode()), orDefault(contentType, "application/x-www-form-urlencoded"), nil
	case "multipart":
		if !isMap {
			return nil, "", fmt.Errorf("a form is made of a map, and this is %s", expr.KindOf(body))
		}
		return multipartForm(m)
	case "raw":
		if _, encoded := m["encoding"]; encoded && m["content"] != nil {
			payload, err = content(m)
			return payload, orDefault(contentType, orDefault(value.Text(m["content_type"]), "application/octet-stream")), err
		}
		return []byte(value.Text(body)), orDefault(contentType, "text/plain; charset=utf-8"), nil
	}
	if isText && isJSON(kind) && json.Valid([]byte(s)) {
		return []byte(s), contentType, nil // JSON written by hand goes as it is
	}
	payload, err = value.Encode(body)
	return payload, orDefault(contentType, jsonType), err
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
	return kind == jsonType || strings.HasSuffix(kind, "+json")
}

func form(m map[string]any) url.Values {
	values := url.Values{}
	for name, v := range m {
		for _, item := range each(v) {
			values.Add(name, value.Text(item))
		}
	}
	return values
}

// each gives what a field is sent with: once for each item of a list, and not at all where it is null.
func each(v any) []any {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	return slices.DeleteFunc(slices.Clone(list), func(item any) bool { return item == nil })
}

func multipartForm(m map[string]any) ([]byte, string, error) {
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for _, name := range sortedKeys(m) {
		for _, v := range each(m[name]) {
			if err := writePart(w, name, v); err != nil {
				return nil, "", fmt.Errorf("field %s: %w", name, err)
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return buf.Bytes(), w.FormDataContentType(), nil
}

// writePart writes a field, or a file: a map with filename and content, which may say its content_type, and that the
// content is base64, as binary responses are.
func writePart(w *multipart.Writer, name string, v any) error {
	file, _ := v.(map[string]any)
	filename, isFile := file["filename"].(string)
	if _, given := file["content"]; !isFile || !given {
		return w.WriteField(name, value.Text(v))
	}
	data, err := content(file)
	if err != nil {
		return err
	}
	header := textproto.MIMEHeader{}
	header.Set("Content-Disposition", multipart.FileContentDisposition(name, filename))
	header.Set("Content-Type", orDefault(value.Text(file["content_type"]), "application/octet-stream"))
	part, err := w.CreatePart(header)
	if err != nil {
		return err
	}
	_, err = part.Write(data)
	return err
}

// content gives the bytes that a map with content, and perhaps its encoding, stands for.
func content(of map[string]any) ([]byte, error) {
	text := value.Text(of["content"])
	switch encoding := value.Text(of["encoding"]); encoding {
	case "":
		return []byte(text), nil
	case "base64":
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("its content is not base64: %w", err)
		}
		return data, nil
	default:
		return nil, fmt.Errorf("its encoding is %q, and there is base64 only", encoding)
	}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
