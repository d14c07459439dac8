package event

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// encoder appends JSON to b. A key is given with its quotes, its colon and the comma before it; close makes the first comma
// of an object its brace. The names ending in If leave out what encoding/json leaves out.
type encoder struct {
	b      []byte
	failed bool // there is something in it that JSON cannot say
}

func (e *encoder) key(key string) { e.b = append(e.b, key...) }

func (e *encoder) null() { e.b = append(e.b, "null"...) }

// close ends the object that began at from.
func (e *encoder) close(from int) {
	if len(e.b) == from {
		e.b = append(e.b, '{')
	} else {
		e.b[from] = '{'
	}
	e.b = append(e.b, '}')
}

// separator is what stands before the element i of a list.
func separator(i int, first string) string {
	if i == 0 {
		return first
	}
	return ","
}

// closeList ends a list of n elements: one of none has not begun.
func (e *encoder) closeList(n int) {
	if n > 0 {
		e.b = append(e.b, ']')
	}
}

func (e *encoder) text(key, s string) {
	e.b = appendString(append(e.b, key...), s)
}

func (e *encoder) textIf(key, s string) {
	if s != "" {
		e.text(key, s)
	}
}

func (e *encoder) int(key string, n int64) {
	e.b = strconv.AppendInt(append(e.b, key...), n, 10)
}

func (e *encoder) intIf(key string, n int64) {
	if n != 0 {
		e.int(key, n)
	}
}

func (e *encoder) uintIf(key string, n uint64) {
	if n != 0 {
		e.b = strconv.AppendUint(append(e.b, key...), n, 10)
	}
}

func (e *encoder) boolIf(key string, v bool) {
	if v {
		e.b = append(append(e.b, key...), "true"...)
	}
}

func (e *encoder) time(key string, t time.Time) {
	e.b = append(append(e.b, key...), '"')
	b, err := t.AppendText(e.b)
	if err != nil {
		e.failed = true // a year of five digits
		return
	}
	e.b = b
	e.b = append(e.b, '"')
}

func (e *encoder) timeIf(key string, t time.Time) {
	if !t.IsZero() {
		e.time(key, t)
	}
}

func (e *encoder) rawIf(key string, raw json.RawMessage) {
	if len(raw) > 0 {
		e.key(key)
		e.raw(raw)
	}
}

func (e *encoder) raw(raw json.RawMessage) {
	b, ok := appendCompact(e.b, raw)
	if !ok {
		e.failed = true
		return
	}
	e.b = b
}

const hexDigits = "0123456789abcdef"

// plain are the bytes that a string of JSON has as they are, and that neither end it nor begin what takes a closer look:
// not < > & either, which encoding/json escapes.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()

// appendString appends s as encoding/json does: with <, > and & escaped as well, and U+FFFD for what is not UTF-8.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = appendEscaped(append(b, s[from:i]...), c)
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(append(b, s[from:i]...), `\ufffd`...)
			from = i + n
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[from:i]...), '\\', 'u', '2', '0', '2', hexDigits[r&15])
			from = i + n
		}
		i += n
	}
	return append(append(b, s[from:]...), '"')
}

func appendEscaped(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	default:
		return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}
