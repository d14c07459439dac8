package value

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deep lists and maps may lie in one another.
const MaxDepth = 1000

// SyntaxError says what is wrong with a text that should be JSON, and where.
type SyntaxError struct {
	Offset  int // byte
	Message string
}

// Error gives the message and the offset.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("JSON: %s at byte %d", e.Message, e.Offset)
}

// Decode reads one JSON value; anything but blanks behind it is an error. Of a key given twice the last counts,
// and bytes that are not UTF-8 become U+FFFD, as in encoding/json. Errors are of type *SyntaxError.
func Decode(data []byte) (any, error) {
	// One copy up front, so that every string in the value is a part of it.
	d := decoder{text: string(data)}
	d.blanks()
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	d.blanks()
	if d.pos < len(d.text) {
		return nil, d.fail("%s after the value", d.here())
	}
	return v, nil
}

type decoder struct {
	text string
	pos  int
}

func (d *decoder) fail(format string, args ...any) error {
	return &SyntaxError{Offset: d.pos, Message: fmt.Sprintf(format, args...)}
}

// here names the character at the position, for messages.
func (d *decoder) here() string {
	if d.pos >= len(d.text) {
		return "unexpected end"
	}
	r, _ := utf8.DecodeRuneInString(d.text[d.pos:])
	return fmt.Sprintf("unexpected %q", r)
}

func (d *decoder) blanks() {
	for d.pos < len(d.text) {
		switch d.text[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

func (d *decoder) value(depth int) (any, error) {
	if d.pos >= len(d.text) {
		return nil, d.fail("%s", d.here())
	}
	switch c := d.text[d.pos]; {
	case c == '"':
		return d.str()
	case c == '{':
		return d.object(depth + 1)
	case c == '[':
		return d.list(depth + 1)
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	case c == 't':
		return true, d.word("true")
	case c == 'f':
		return false, d.word("false")
	case c == 'n':
		return nil, d.word("null")
	}
	return nil, d.fail("%s instead of a value", d.here())
}

func (d *decoder) word(w string) error {
	if !strings.HasPrefix(d.text[d.pos:], w) {
		return d.fail("%s instead of a value", d.here())
	}
	d.pos += len(w)
	return nil
}

func (d *decoder) object(depth int) (any, error) {
	if depth > MaxDepth {
		return nil, d.fail("more than %d levels", MaxDepth)
	}
	d.pos++
	m := map[string]any{}
	d.blanks()
	if d.skip('}') {
		return m, nil
	}
	for {
		if d.pos >= len(d.text) || d.text[d.pos] != '"' {
			return nil, d.fail("%s instead of a key", d.here())
		}
		key, err := d.str()
		if err != nil {
			return nil, err
		}
		d.blanks()
		if !d.skip(':') {
			return nil, d.fail("%s instead of ':'", d.here())
		}
		d.blanks()
		if m[key], err = d.value(depth); err != nil {
			return nil, err
		}
		d.blanks()
		if d.skip('}') {
			return m, nil
		}
		if !d.skip(',') {
			return nil, d.fail("%s instead of ',' or '}'", d.here())
		}
		d.blanks()
	}
}

func (d *decoder) list(depth int) (any, error) {
	if depth > MaxDepth {
		return nil, d.fail("more than %d levels", MaxDepth)
	}
	d.pos++
	l := []any{}
	d.blanks()
	if d.skip(']') {
		return l, nil
	}
	for {
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
		d.blanks()
		if d.skip(']') {
			return l, nil
		}
		if !d.skip(',') {
			return nil, d.fail("%s instead of ',' or ']'", d.here())
		}
		d.blanks()
	}
}

func (d *decoder) skip(c byte) bool {
	if d.pos < len(d.text) && d.text[d.pos] == c {
		d.pos++
		return true
	}
	return false
}

// str reads a string. The common one, without escapes, is a part of the text and costs nothing.
func (d *decoder) str() (string, error) {
	d.pos++
	start := d.pos
	for d.pos < len(d.text) {
		switch c := d.text[d.pos]; {
		case c == '"':
			s := d.text[start:d.pos]
			d.pos++
			return s, nil
		case c == '\\' || c >= utf8.RuneSelf:
			return d.strSlow(start)
		case c < ' ':
			return "", d.fail("a control character in a string")
		}
		d.pos++
	}
	return "", d.fail("the string does not end")
}

func (d *decoder) strSlow(start int) (string, error) {
	var b strings.Builder
	clean := true // so far a plain part of the text
	for d.pos < len(d.text) {
		switch c := d.text[d.pos]; {
		case c == '"':
			s := d.text[start:d.pos]
			d.pos++
			if !clean {
				s = b.String()
			}
			return s, nil
		case c == '\\':
			if clean {
				clean = false
				b.WriteString(d.text[start:d.pos])
			}
			r, err := d.escape()
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
		case c < ' ':
			return "", d.fail("a control character in a string")
		default:
			r, n := utf8.DecodeRuneInString(d.text[d.pos:])
			if r == utf8.RuneError && n == 1 && clean {
				clean = false
				b.WriteString(d.text[start:d.pos])
			}
			if !clean {
				b.WriteRune(r)
			}
			d.pos += n
		}
	}
	return "", d.fail("the string does not end")
}

func (d *decoder) escape() (rune, error) {
	if d.pos+1 >= len(d.text) {
		return 0, d.fail("the string does not end")
	}
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	c := d.text[d.pos+1]
	if i := strings.IndexByte(from, c); i >= 0 {
		d.pos += 2
		return rune(to[i]), nil
	}
	if c != 'u' {
		return 0, d.fail("an unknown escape in a string")
	}
	r, ok := d.hex(d.pos)
	if !ok {
		return 0, d.fail(`\u without four hexadecimal digits`)
	}
	d.pos += 6
	if utf16.IsSurrogate(r) {
		if low, ok := d.hex(d.pos); ok {
			if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
				d.pos += 6
				return both, nil
			}
		}
		return utf8.RuneError, nil
	}
	return r, nil
}

// hex reads \uXXXX at pos.
func (d *decoder) hex(pos int) (rune, bool) {
	if pos+6 > len(d.text) || d.text[pos] != '\\' || d.text[pos+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range []byte(d.text[pos+2 : pos+6]) {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func (d *decoder) number() (any, error) {
	rest := d.text[d.pos:]
	n, whole := scanNumber(rest)
	if n == 0 {
		return nil, d.fail("a number is not well formed")
	}
	d.pos += n
	return toNumber(rest[:n], whole), nil
}
