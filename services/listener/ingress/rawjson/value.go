package rawjson

import (
	"bytes"
	"encoding/json"
	"iter"
)

// Value is the text of one value within a parsed document, without blanks around it; nil is a missing one.
type Value []byte

// Kind is the type of a value.
type Kind uint8

// The kinds. A missing value is Null as well.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// Kind tells the type by the first byte.
func (v Value) Kind() Kind {
	if len(v) == 0 {
		return Null
	}
	switch v[0] {
	case '{':
		return Object
	case '[':
		return Array
	case '"':
		return String
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	default:
		return Number
	}
}

// Text is a scalar as text: a string's characters, a number by its digits, "" for null.
// An object or list is given as it is written.
func (v Value) Text() string {
	switch v.Kind() {
	case Null:
		return ""
	case String:
		return unquote(v[1 : len(v)-1])
	default:
		return string(v)
	}
}

// TextOf is Text; where that is one of the words, it is that word.
func (v Value) TextOf(words []string) string {
	plain := v
	switch v.Kind() {
	case Null:
		return ""
	case String:
		if plain = v[1 : len(v)-1]; bytes.IndexByte(plain, '\\') >= 0 {
			return v.Text()
		}
	default:
	}
	for _, w := range words {
		if string(plain) == w {
			return w
		}
	}
	return string(plain)
}

// Member is an object's member with the name, or nil. Of several, the last.
func (v Value) Member(name string) Value {
	if v.Kind() != Object {
		return nil
	}
	var found Value
	for at := 1; ; {
		at = next(v, at)
		if v[at] == '}' {
			return found
		}
		key := v[at+1 : stringEnd(v, at)-1]
		at = next(v, at+len(key)+2)
		end := valueEnd(v, at)
		if sameKey(key, name) {
			found = v[at:end]
		}
		at = end
	}
}

// Index is a list's element, from its end where i is negative, or nil.
func (v Value) Index(i int) Value {
	if i < 0 {
		n := 0
		for range v.Elements() {
			n++
		}
		i += n
	}
	for e := range v.Elements() {
		if i == 0 {
			return e
		}
		i--
	}
	return nil
}

// Elements gives a list's elements; none for what is no list.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != Array {
			return
		}
		for at := 1; ; {
			at = next(v, at)
			if v[at] == ']' {
				return
			}
			end := valueEnd(v, at)
			if !yield(v[at:end]) {
				return
			}
			at = end
		}
	}
}

// next passes blanks, commas and colons. The text is known to be well-formed.
func next(text []byte, at int) int {
	for blank(text[at]) || text[at] == ',' || text[at] == ':' {
		at++
	}
	return at
}

// valueEnd is where the value that begins at ends.
func valueEnd(text []byte, at int) int {
	switch text[at] {
	case '"':
		return stringEnd(text, at)
	case '{', '[':
		depth := 0
		for {
			switch text[at] {
			case '"':
				at = stringEnd(text, at)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return at + 1
				}
			}
			at++
		}
	default:
		for at < len(text) && !blank(text[at]) && text[at] != ',' && text[at] != '}' && text[at] != ']' {
			at++
		}
		return at
	}
}

// stringEnd is where the string that begins at ends.
func stringEnd(text []byte, at int) int {
	for at++; ; at++ {
		switch text[at] {
		case '"':
			return at + 1
		case '\\':
			at++
		}
	}
}

func sameKey(written []byte, name string) bool {
	if bytes.IndexByte(written, '\\') < 0 {
		return string(written) == name
	}
	return unquote(written) == name
}

// unquote reads what stands between a string's quotes.
func unquote(written []byte) string {
	if bytes.IndexByte(written, '\\') < 0 {
		return string(written)
	}
	var s string
	quoted := append(append([]byte{'"'}, written...), '"')
	if err := json.Unmarshal(quoted, &s); err != nil {
		return string(written) // cannot be: the text was checked
	}
	return s
}
