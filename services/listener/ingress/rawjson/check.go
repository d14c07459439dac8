// Package rawjson checks JSON text and finds values in it without decoding them.
package rawjson

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// MaxDepth is how deep values may be nested. It is below what the decoders of the project take, so that
// a value may be put into others and still be read.
const MaxDepth = 500

// SyntaxError says where text stops being JSON.
type SyntaxError struct {
	Offset int // byte
	What   string
}

// Error names the place.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.What, e.Offset) }

// Document is checked JSON text with an index of its outermost object. It is reused by the next Parse.
type Document struct {
	root    Value
	members []member
}

// member of the outermost object. The key is as written, without its quotes.
type member struct{ key, value []byte }

// keepMembers bounds the index that a reused Document holds on to.
const keepMembers = 256

// Parse checks that text is exactly one JSON value. The document refers to text until the next Parse.
func (d *Document) Parse(text []byte) error {
	if cap(d.members) > keepMembers {
		d.members = nil
	}
	d.root, d.members = nil, d.members[:0]
	if !utf8.Valid(text) {
		return &SyntaxError{Offset: invalidUTF8(text), What: "not UTF-8"}
	}
	c := checker{text: text, index: d}
	c.space()
	start := c.pos
	if !c.value(1) {
		return &SyntaxError{Offset: c.pos, What: c.what}
	}
	d.root = text[start:c.pos]
	c.space()
	if c.pos != len(text) {
		d.root = nil
		return &SyntaxError{Offset: c.pos, What: "text after the value"}
	}
	return nil
}

func invalidUTF8(text []byte) int {
	at := 0
	for at < len(text) {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		at += n
	}
	return at
}

// Root is the whole value, without the blanks around it; nil before a successful Parse.
func (d *Document) Root() Value { return d.root }

// Member is the outermost object's member with the name, or nil. Of several, the last.
func (d *Document) Member(name string) Value {
	if d.root.Kind() != Object {
		return nil
	}
	for _, m := range slices.Backward(d.members) {
		if sameKey(m.key, name) {
			return m.value
		}
	}
	return nil
}

// checker walks the text once. Its methods tell whether all is well, and leave pos at what is not.
type checker struct {
	text  []byte
	pos   int
	what  string
	index *Document
}

func (c *checker) fail(what string) bool {
	c.what = what
	if c.pos >= len(c.text) {
		c.what = "unexpected end"
	}
	return false
}

func (c *checker) space() {
	for c.pos < len(c.text) && blank(c.text[c.pos]) {
		c.pos++
	}
}

func (c *checker) peek() byte {
	if c.pos < len(c.text) {
		return c.text[c.pos]
	}
	return 0
}

func (c *checker) value(depth int) bool {
	if depth > MaxDepth {
		return c.fail(fmt.Sprintf("nested deeper than %d", MaxDepth))
	}
	switch b := c.peek(); {
	case b == '"':
		return c.str()
	case b == '{':
		return c.object(depth)
	case b == '[':
		return c.array(depth)
	case b == '-' || digit(b):
		return c.number()
	case b == 't':
		return c.word("true")
	case b == 'f':
		return c.word("false")
	case b == 'n':
		return c.word("null")
	default:
		return c.fail("a value was expected")
	}
}

func (c *checker) object(depth int) bool {
	c.pos++
	c.space()
	if c.peek() == '}' {
		c.pos++
		return true
	}
	for {
		if c.peek() != '"' {
			return c.fail("a member's name in quotes was expected")
		}
		key := c.pos + 1
		if !c.str() {
			return false
		}
		keyEnd := c.pos - 1
		c.space()
		if c.peek() != ':' {
			return c.fail("a colon was expected")
		}
		c.pos++
		c.space()
		start := c.pos
		if !c.value(depth + 1) {
			return false
		}
		if depth == 1 {
			c.index.members = append(c.index.members, member{key: c.text[key:keyEnd], value: c.text[start:c.pos]})
		}
		if done, ok := c.next('}'); done || !ok {
			return ok
		}
	}
}

func (c *checker) array(depth int) bool {
	c.pos++
	c.space()
	if c.peek() == ']' {
		c.pos++
		return true
	}
	for {
		if !c.value(depth + 1) {
			return false
		}
		if done, ok := c.next(']'); done || !ok {
			return ok
		}
	}
}

// next passes the comma before another element, or the closing bracket.
func (c *checker) next(closing byte) (done, ok bool) {
	c.space()
	switch c.peek() {
	case ',':
		c.pos++
		c.space()
		return false, true
	case closing:
		c.pos++
		return true, true
	default:
		return false, c.fail("a comma or " + string(closing) + " was expected")
	}
}

func (c *checker) str() bool {
	c.pos++
	for c.pos < len(c.text) {
		switch b := c.text[c.pos]; {
		case b == '"':
			c.pos++
			return true
		case b == '\\':
			if !c.escape() {
				return false
			}
		case b < 0x20:
			return c.fail("a control character in a string")
		default:
			c.pos++
		}
	}
	return c.fail("")
}

func (c *checker) escape() bool {
	c.pos++
	switch c.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		c.pos++
		return true
	case 'u':
		c.pos++
		for range 4 {
			if !hex(c.peek()) {
				return c.fail("four hex digits were expected")
			}
			c.pos++
		}
		return true
	default:
		return c.fail("an unknown escape")
	}
}

func (c *checker) number() bool {
	if c.peek() == '-' {
		c.pos++
	}
	if c.peek() == '0' {
		c.pos++
	} else if !c.digits() {
		return false
	}
	if c.peek() == '.' {
		c.pos++
		if !c.digits() {
			return false
		}
	}
	if b := c.peek(); b == 'e' || b == 'E' {
		c.pos++
		if b := c.peek(); b == '+' || b == '-' {
			c.pos++
		}
		return c.digits()
	}
	return true
}

func (c *checker) digits() bool {
	if !digit(c.peek()) {
		return c.fail("a digit was expected")
	}
	for digit(c.peek()) {
		c.pos++
	}
	return true
}

func (c *checker) word(w string) bool {
	for i := range len(w) {
		if c.peek() != w[i] {
			return c.fail("a value was expected")
		}
		c.pos++
	}
	return true
}

func blank(b byte) bool { return b == ' ' || b == '\n' || b == '\r' || b == '\t' }

func digit(b byte) bool { return b >= '0' && b <= '9' }

func hex(b byte) bool { return digit(b) || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F' }
