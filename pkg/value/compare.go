package value

import (
	"cmp"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Equal tells whether two values are the same. Numbers are compared by what they amount to, however they are
// written: 1, 1.0 and 1e0 are equal.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case string:
		s, ok := b.(string)
		return ok && a == s
	case bool:
		t, ok := b.(bool)
		return ok && a == t
	case []any:
		l, ok := b.([]any)
		if !ok || len(a) != len(l) {
			return false
		}
		for i := range a {
			if !Equal(a[i], l[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		m, ok := b.(map[string]any)
		if !ok || len(a) != len(m) {
			return false
		}
		for k, v := range a {
			if other, ok := m[k]; !ok || !Equal(v, other) {
				return false
			}
		}
		return true
	case time.Time:
		t, ok := b.(time.Time)
		return ok && a.Equal(t)
	}
	if IsNumber(a) {
		c, ok := Compare(a, b)
		return ok && c == 0
	}
	return reflect.DeepEqual(a, b)
}

// Compare orders two numbers or two strings: negative where a comes first, 0 where they are equal. Of numbers no
// digit is left out of account. It is false for everything else.
func Compare(a, b any) (int, bool) {
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b), true
		}
		return 0, false
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b), true
		}
	case float64:
		if b, ok := b.(float64); ok {
			return cmp.Compare(a, b), !math.IsNaN(a) && !math.IsNaN(b)
		}
	}
	x, ok := toDecimal(a)
	if !ok {
		return 0, false
	}
	y, ok := toDecimal(b)
	if !ok {
		return 0, false
	}
	return x.compare(y), true
}

// IsNumber tells whether v is a number.
func IsNumber(v any) bool {
	switch v.(type) {
	case int64, float64, json.Number, int:
		return true
	}
	return false
}

// decimal is ±0.DIGITS × 10^exp. The digits neither begin nor end with 0; there are none in zero. Unlike a
// rational number it stays small, whatever the exponent.
type decimal struct {
	neg    bool
	digits string
	exp    int64
}

func toDecimal(v any) (decimal, bool) {
	switch v := v.(type) {
	case int64:
		return parseDecimal(strconv.FormatInt(v, 10)), true
	case int:
		return parseDecimal(strconv.Itoa(v)), true
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return decimal{}, false
		}
		return parseDecimal(strconv.FormatFloat(v, 'e', -1, 64)), true
	case json.Number:
		if n, _ := scanNumber(string(v)); n == 0 || n != len(v) {
			return decimal{}, false
		}
		return parseDecimal(string(v)), true
	}
	return decimal{}, false
}

// parseDecimal reads a well-formed number. Exponents beyond ±1<<40 count as that.
func parseDecimal(s string) decimal {
	const most = 1 << 40
	var d decimal
	s, d.neg = strings.CutPrefix(s, "-")
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, _ := strconv.ParseInt(s[i+1:], 10, 64) // the nearest on overflow
		d.exp = min(max(e, -most), most)
		s = s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	d.exp += int64(len(whole))
	d.digits = whole + fraction
	n := len(d.digits)
	d.digits = strings.TrimLeft(d.digits, "0")
	d.exp -= int64(n - len(d.digits))
	d.digits = strings.TrimRight(d.digits, "0")
	if d.digits == "" {
		return decimal{}
	}
	return d
}

func (d decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.neg:
		return -1
	}
	return 1
}

func (d decimal) compare(o decimal) int {
	if c := cmp.Compare(d.sign(), o.sign()); c != 0 {
		return c
	}
	c := cmp.Compare(d.exp, o.exp)
	if c == 0 {
		c = strings.Compare(d.digits, o.digits)
	}
	if d.neg {
		return -c
	}
	return c
}

// Canonical writes a number so that equal numbers are written alike, "" for what is no number.
func Canonical(v any) string {
	d, ok := toDecimal(v)
	if !ok {
		return ""
	}
	sign := ""
	if d.neg {
		sign = "-"
	}
	return sign + d.digits + "e" + strconv.FormatInt(d.exp, 10)
}
