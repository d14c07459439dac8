package ingress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/molecule-man/go-brrr"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// maxEncodings bounds how often one body may be packed.
const maxEncodings = 3

// expand undoes a Content-Encoding. The result, and each step to it, is at most limit bytes.
func expand(contentEncoding string, body []byte, limit int64) ([]byte, error) {
	var encodings []string
	for e := range strings.SplitSeq(contentEncoding, ",") {
		if e = strings.ToLower(strings.TrimSpace(e)); e != "" && e != "identity" {
			encodings = append(encodings, e)
		}
	}
	if len(encodings) > maxEncodings {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("the body has %d content encodings", len(encodings)), "send it with one at most")
	}
	for _, e := range slices.Backward(encodings) {
		var err error
		if body, err = decompress(e, body, limit); err != nil {
			return nil, err
		}
	}
	return body, nil
}

func decompress(encoding string, body []byte, limit int64) ([]byte, error) {
	r, err := decompressor(encoding, body)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, limit+1))
	if int64(len(out)) > limit {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, unpackable(encoding, err)
	}
	return out, nil
}

func decompressor(encoding string, body []byte) (io.Reader, error) {
	src := bytes.NewReader(body)
	switch encoding {
	case "gzip", "x-gzip":
		r, err := gzip.NewReader(src)
		if err != nil {
			return nil, unpackable(encoding, err)
		}
		return r, nil
	case "deflate":
		// The standard means zlib; some senders leave its header out.
		if len(body) < 2 || body[0]&0x0f != 8 || (uint16(body[0])<<8|uint16(body[1]))%31 != 0 {
			return flate.NewReader(src), nil
		}
		r, err := zlib.NewReader(src)
		if err != nil {
			return nil, unpackable(encoding, err)
		}
		return r, nil
	case "br":
		return brrr.NewReader(src), nil
	default:
		return nil, fault.New(fault.Invalid, fmt.Sprintf("the content encoding %.40q is not known", encoding), "use gzip, deflate, br or none")
	}
}

func unpackable(encoding string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fault.Wrap(err, fault.Invalid, "the body is not what Content-Encoding: "+encoding+" says", "")
}

func tooLarge(limit int64) error {
	return fault.New(fault.TooLarge, fmt.Sprintf("the body is larger than %d bytes", limit),
		"send less at once, or raise the listener's max_body_size")
}
