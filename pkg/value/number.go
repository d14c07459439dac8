package value

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// scanNumber gives the length of the JSON number that s begins with, 0 where there is none, and whether it has
// neither fraction nor exponent.
func scanNumber(s string) (n int, whole bool) {
	i := 0
	digits := func() bool {
		from := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
		if i < len(s) && s[i] >= '0' && s[i] <= '9' {
			return 0, false
		}
	} else if !digits() {
		return 0, false
	}
	whole = true
	if i < len(s) && s[i] == '.' {
		i++
		if whole = false; !digits() {
			return 0, false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if whole = false; !digits() {
			return 0, false
		}
	}
	return i, whole
}

// toNumber gives the plainest type that writes the number back as it stands.
func toNumber(s string, whole bool) any {
	if whole && s != "-0" {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i
		}
		return json.Number(s)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return json.Number(s)
	}
	var buf [32]byte
	if string(appendFloat(buf[:0], f)) == s {
		return f
	}
	return json.Number(s)
}

// ErrNumber is what Number answers for text that is no number.
var ErrNumber = errors.New("not a number")

// Number reads a number as JSON writes it, keeping its digits.
func Number(s string) (any, error) {
	n, whole := scanNumber(s)
	if n == 0 || n != len(s) {
		return nil, ErrNumber
	}
	return toNumber(s, whole), nil
}

// maxDigits bounds the numbers that are compared by their value: a longer one is text.
const maxDigits = 400

// Rational gives the number that a value, or a text, is. It is false for all else, and for numbers that would fill the memory.
func Rational(v any) (*big.Rat, bool) {
	switch v.(type) {
	case bool, nil, []any, map[string]any:
		return nil, false
	}
	text := Text(v)
	if len(text) > maxDigits {
		return nil, false
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 && len(text)-i > 5 {
		return nil, false // an exponent that would fill the memory
	}
	return new(big.Rat).SetString(text)
}
