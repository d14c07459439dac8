package ingress

import (
	"bytes"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// media is how a body is read.
type media uint8

const (
	mediaNone      media = iota // no Content-Type
	mediaJSON                   // application/json, +json
	mediaForm                   // application/x-www-form-urlencoded
	mediaMultipart              // multipart/form-data
	mediaOther                  // a string
)

// contentType is a parsed Content-Type.
type contentType struct {
	media    media
	charset  string // "" is UTF-8
	boundary string
}

// plainJSON is what nearly everybody sends; it needs no parsing.
const plainJSON = "application/json"

func parseContentType(header []byte) contentType {
	if string(header) == plainJSON {
		return contentType{media: mediaJSON}
	}
	if len(header) == 0 {
		return contentType{media: mediaNone}
	}
	name, params, err := mime.ParseMediaType(string(header))
	if err != nil {
		// Unreadable parameters: the type itself is still worth something.
		name, _, _ = strings.Cut(string(header), ";")
		name = strings.ToLower(strings.TrimSpace(name))
	}
	t := contentType{media: mediaOther, charset: strings.ToLower(params["charset"]), boundary: params["boundary"]}
	switch {
	case name == plainJSON, name == "text/json", strings.HasSuffix(name, "+json"):
		t.media = mediaJSON
	case name == "application/x-www-form-urlencoded":
		t.media = mediaForm
	case name == "multipart/form-data":
		t.media = mediaMultipart
	}
	return t
}

var utf8BOM = []byte("\xef\xbb\xbf")

// toUTF8 converts text from charset, and takes a byte order mark off. An unknown charset is an error.
func toUTF8(charset string, text []byte) ([]byte, error) {
	switch charset {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return bytes.TrimPrefix(text, utf8BOM), nil
	}
	encoding, err := htmlindex.Get(charset)
	if err != nil {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("the charset %.40q is not known", charset), "send UTF-8")
	}
	out, err := encoding.NewDecoder().Bytes(text)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the body is not what charset="+charset+" says", "")
	}
	return bytes.TrimPrefix(out, utf8BOM), nil
}

// text gives a body of another type: as text where charset and bytes allow it.
func text(charset string, body []byte) (string, bool) {
	converted, err := toUTF8(charset, body)
	if err != nil || !utf8.Valid(converted) {
		return "", false
	}
	return string(converted), true
}
