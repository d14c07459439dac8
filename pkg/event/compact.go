package event

// maxDepth is how deep encoding/json lets lists and objects lie in one another.
const maxDepth = 10000

// appendCompact appends JSON that lies in src as encoding/json does with a RawMessage: without blanks, and with <, > and &
// escaped, as well as U+2028 and U+2029. Bytes that are not UTF-8 stay. It is false, and nothing is appended, where src is
// not one value of JSON.
//
// Most of it has been written by us, and is compact. It is looked through all the same: a document with one byte that is
// not JSON could not be read by anybody, and this costs little more than copying.
func appendCompact(dst, src []byte) ([]byte, bool) {
	c := compacter{dst: dst, src: src}
	c.blanks()
	if !c.value(0) {
		return dst, false
	}
	c.blanks()
	if c.pos < len(src) {
		return dst, false
	}
	return append(c.dst, src[c.from:]...), true
}

type compacter struct {
	dst, src  []byte
	pos, from int // what lies between is copied as it is
}

// leaveOut passes over n bytes that are not copied, and puts others in their place.
func (c *compacter) leaveOut(n int, instead ...byte) {
	c.dst = append(append(c.dst, c.src[c.from:c.pos]...), instead...)
	c.pos += n
	c.from = c.pos
}

// peek is the byte at the position; at the end it is 0, which is never valid.
func (c *compacter) peek() byte {
	if c.pos < len(c.src) {
		return c.src[c.pos]
	}
	return 0
}

func (c *compacter) blanks() {
	for {
		switch c.peek() {
		case ' ', '\t', '\n', '\r':
			c.leaveOut(1)
		default:
			return
		}
	}
}

// value reads a value that begins here, inside of depth lists and objects.
func (c *compacter) value(depth int) bool {
	switch b := c.peek(); b {
	case '"':
		return c.str()
	case '{':
		return depth < maxDepth && c.object(depth+1)
	case '[':
		return depth < maxDepth && c.list(depth+1)
	case 't':
		return c.word("true")
	case 'f':
		return c.word("false")
	case 'n':
		return c.word("null")
	default:
		return c.number()
	}
}

func (c *compacter) word(w string) bool {
	if len(c.src)-c.pos < len(w) || string(c.src[c.pos:c.pos+len(w)]) != w {
		return false
	}
	c.pos += len(w)
	return true
}

func (c *compacter) object(depth int) bool {
	c.pos++
	c.blanks()
	if c.peek() == '}' {
		c.pos++
		return true
	}
	for {
		if c.peek() != '"' || !c.str() {
			return false
		}
		c.blanks()
		if c.peek() != ':' {
			return false
		}
		c.pos++
		c.blanks()
		if !c.value(depth) {
			return false
		}
		c.blanks()
		switch c.peek() {
		case '}':
			c.pos++
			return true
		case ',':
			c.pos++
			c.blanks()
		default:
			return false
		}
	}
}

func (c *compacter) list(depth int) bool {
	c.pos++
	c.blanks()
	if c.peek() == ']' {
		c.pos++
		return true
	}
	for {
		if !c.value(depth) {
			return false
		}
		c.blanks()
		switch c.peek() {
		case ']':
			c.pos++
			return true
		case ',':
			c.pos++
			c.blanks()
		default:
			return false
		}
	}
}

func (c *compacter) str() bool {
	c.pos++
	for {
		for c.pos < len(c.src) && plain[c.src[c.pos]] {
			c.pos++
		}
		switch b := c.peek(); {
		case b == '"':
			c.pos++
			return true
		case b == '\\':
			if !c.escape() {
				return false
			}
		case b < ' ':
			return false // or the end
		case b == '<' || b == '>' || b == '&':
			c.leaveOut(1, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
		case b == 0xE2 && len(c.src)-c.pos > 2 && c.src[c.pos+1] == 0x80 && c.src[c.pos+2]&^1 == 0xA8:
			c.leaveOut(3, '\\', 'u', '2', '0', '2', hexDigits[c.src[c.pos+2]&15])
		default:
			c.pos++
		}
	}
}

func (c *compacter) escape() bool {
	c.pos++
	b := c.peek()
	c.pos++
	switch b {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			switch b := c.peek(); {
			case b >= '0' && b <= '9', b >= 'a' && b <= 'f', b >= 'A' && b <= 'F':
				c.pos++
			default:
				return false
			}
		}
		return true
	default:
		return false
	}
}

func (c *compacter) number() bool {
	if c.peek() == '-' {
		c.pos++
	}
	switch b := c.peek(); {
	case b == '0':
		c.pos++
	case !c.digits():
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

// digits passes over digits, and is false where there are none.
func (c *compacter) digits() bool {
	from := c.pos
	for c.pos < len(c.src) && c.src[c.pos] >= '0' && c.src[c.pos] <= '9' {
		c.pos++
	}
	return c.pos > from
}
