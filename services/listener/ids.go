package listener

import (
	"crypto/rand"
	"time"

	"github.com/oklog/ulid/v2"
)

// newID makes a ULID, in lower case as every id that is made here: its time, and 80 bits that nobody can guess.
func newID(now time.Time) string {
	var id ulid.ULID
	_ = id.SetTime(ulid.Timestamp(now)) // fails in the year 10889
	_, _ = rand.Read(id[6:])            // never fails
	var text [ulid.EncodedSize]byte
	_ = id.MarshalTextTo(text[:]) // it has the size
	for i := range text {
		text[i] |= 0x20 // a digit stays as it is
	}
	return string(text[:])
}

// maxRequestID bounds the X-Request-Id that a client may choose.
const maxRequestID = 128

// goodRequestID tells whether a client's id may stand in logs and headers.
func goodRequestID(id []byte) bool {
	if len(id) == 0 || len(id) > maxRequestID {
		return false
	}
	for _, c := range id {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=', c == '@':
		default:
			return false
		}
	}
	return true
}

// goodTrace tells whether a traceparent header is one: version 00 to fe, ids not all zero.
func goodTrace(h []byte) bool {
	if len(h) < 55 || h[2] != '-' || h[35] != '-' || h[52] != '-' || string(h[:2]) == "ff" {
		return false
	}
	if len(h) > 55 && (string(h[:2]) == "00" || h[55] != '-' || len(h) > 512) {
		return false
	}
	return hexID(h[:2], true) && hexID(h[3:35], false) && hexID(h[36:52], false) && hexID(h[53:55], true)
}

func hexID(h []byte, zero bool) bool {
	for _, c := range h {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
		zero = zero || c != '0'
	}
	return zero
}
