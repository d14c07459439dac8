package listener

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// crockford is the alphabet of ULIDs, in lower case as in every id that is made here.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// newID makes a ULID: 48 bits of milliseconds and 80 that nobody can guess, in 26 characters that sort by time.
func newID(now time.Time) string {
	var b [16]byte
	_, _ = rand.Read(b[6:]) // never fails
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(b[:6], ms[2:])
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	var out [26]byte
	for i := 25; i >= 0; i-- {
		out[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
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
