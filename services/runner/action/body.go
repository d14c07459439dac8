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

// encodeBody writes a body as its content type says: without one, text as it is and everything else as JSON.
// A null body is none.
func encodeBody(body any, contentType string) (payload []byte, newType string, err error) {
	if body == nil {
		return nil, contentType, nil
	}
	kind, _, _ := mime.ParseMediaType(contentType)
	s, isText := body.(string)
	m, isMap := body.(map[string]any)
	switch {
	case kind == "" && isText:
		return []byte(s), "text/plain; charset=utf-8", nil
	case kind == "application/x-www-form-urlencoded" && isMap:
		return []byte(form(m).Encode()), contentType, nil
	case kind == "multipart/form-data" && isMap:
		return multipartForm(m)
	case isText && (!isJSON(kind) || json.Valid([]byte(s))):
		return []byte(s), contentType, nil // JSON written by hand goes as it is
	case kind == "":
		contentType = "application/json"
	}
	payload, err = value.Encode(body)
	return payload, contentType, err
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
