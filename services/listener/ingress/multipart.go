package ingress

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/multipart"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// maxParts bounds the parts of one multipart body: each costs far more than its bytes.
const maxParts = 1000

// parseMultipart reads a multipart form: fields as text, files as {name, content_type, size, data}.
func parseMultipart(boundary string, body []byte) (fields, error) {
	if boundary == "" {
		return nil, fault.New(fault.Invalid, "the multipart body has no boundary", "send Content-Type: multipart/form-data; boundary=…")
	}
	var list fields
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := r.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			if !closed(boundary, body) {
				return nil, unreadableMultipart(io.ErrUnexpectedEOF)
			}
			return list, nil
		case err != nil:
			return nil, unreadableMultipart(err)
		case len(list) == maxParts:
			return nil, fault.New(fault.TooLarge, fmt.Sprintf("the body has more than %d parts", maxParts), "send fewer at once")
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, unreadableMultipart(err)
		}
		list = append(list, field{name: part.FormName(), value: partValue(part, data)})
	}
}

func partValue(part *multipart.Part, data []byte) any {
	kind := part.Header.Get("Content-Type")
	if name := part.FileName(); name != "" {
		return map[string]any{
			"name": name, "content_type": kind, "size": int64(len(data)), "data": base64.StdEncoding.EncodeToString(data),
		}
	}
	return stringOf(parseContentType([]byte(kind)).charset, data)
}

// closed tells whether the last boundary is there: without it the body was cut.
func closed(boundary string, body []byte) bool {
	return bytes.Contains(body, []byte("--"+boundary+"--"))
}

func unreadableMultipart(err error) error {
	return fault.Wrap(err, fault.Invalid, "the multipart body is not well formed", "")
}

// stringOf is a body or part of no known type: its text, or base64 where it is none.
func stringOf(charset string, data []byte) string {
	if s, ok := text(charset, data); ok {
		return s
	}
	return base64.StdEncoding.EncodeToString(data)
}
