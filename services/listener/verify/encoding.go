package verify

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// encoding is how bytes are written in a header. Decoding is strict, so that one signature has one spelling.
type encoding string

const (
	hexLower  encoding = "hex"
	hexUpper  encoding = "hex-upper"
	base64Std encoding = "base64"
	base64URL encoding = "base64url" // without padding
)

// describe names the encoding in a hint.
func (e encoding) describe() string {
	switch e {
	case hexUpper:
		return "upper-case hex"
	case base64Std:
		return "base64"
	case base64URL:
		return "unpadded base64url"
	default:
		return "lower-case hex"
	}
}

// decode reads text, of which nothing but size bytes may come; size 0 allows any.
func (e encoding) decode(text string, size int) ([]byte, bool) {
	var b []byte
	var err error
	switch {
	case strings.ContainsAny(text, "\r\n"): // which encoding/base64 skips
		return nil, false
	case e == base64Std:
		b, err = base64.StdEncoding.Strict().DecodeString(text)
	case e == base64URL:
		b, err = base64.RawURLEncoding.Strict().DecodeString(text)
	case e == hexUpper && strings.ToUpper(text) != text, e == hexLower && strings.ToLower(text) != text:
		return nil, false
	default:
		b, err = hex.DecodeString(text)
	}
	if err != nil || len(b) == 0 || size != 0 && len(b) != size {
		return nil, false
	}
	return b, true
}
