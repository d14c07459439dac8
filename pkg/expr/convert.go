package expr

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/value"
)

// conversion is what stands behind "as".
type conversion string

// The conversions.
const (
	asText    conversion = "text"
	asNumber  conversion = "number"
	asInteger conversion = "integer"
	asBoolean conversion = "boolean"
	asJSON    conversion = "json"
	asBase64  conversion = "base64"
	asURL     conversion = "url" // escaped for a place within one
)

// conversions holds every conversion, with the words that other languages have for it.
var conversions = map[conversion][]string{
	asText:    {"string", "str", "markdown"},
	asNumber:  {"float", "double", "decimal"},
	asInteger: {"int", "long"},
	asBoolean: {"bool"},
	asJSON:    {"object", "list", "map", "array"},
	asBase64:  {"b64"},
	asURL:     {"uri", "urlencoded", "escaped"},
}

func (c conversion) known() bool {
	_, ok := conversions[c]
	return ok
}

func (c conversion) hint() string {
	for to, words := range conversions {
		for _, w := range words {
			if strings.EqualFold(w, string(c)) {
				return "did you mean " + string(to) + "?"
			}
		}
	}
	return suggest(string(c), func(yield func(string) bool) {
		for to := range maps.Keys(conversions) {
			if !yield(string(to)) {
				return
			}
		}
	}, "there are: ")
}

// converted applies a conversion. Null stays null.
type converted struct {
	of   node
	to   conversion
	name string // the ${…} as written
}

func (n converted) eval(s Scope) (any, error) {
	v, err := n.of.eval(s)
	if v == nil || err != nil {
		return nil, err
	}
	if v, err = convert(v, n.to); err != nil {
		return nil, fault.New(fault.Unusable, n.name+": the value is "+err.Error(), "")
	}
	return v, nil
}

// Convert brings a value to a type, as "as" does: text, number, integer, boolean or json. Null stays null. Its errors go on from
// "it is".
func Convert(v any, to string) (any, error) {
	if v == nil {
		return nil, nil //nolint:nilnil // null is a value
	}
	return convert(v, conversion(to))
}

// convert brings v to a type. Its errors go on from "it is"; they keep the value itself out of sight.
func convert(v any, to conversion) (any, error) {
	switch to {
	case asText:
		return value.Text(v), nil
	case asBase64:
		return base64.StdEncoding.EncodeToString([]byte(value.Text(v))), nil
	case asURL:
		// What a query escapes is all that a path must, and a blank is %20 in both.
		return strings.ReplaceAll(url.QueryEscape(value.Text(v)), "+", "%20"), nil
	case asJSON:
		s, ok := v.(string)
		if !ok {
			return v, nil
		}
		v, err := value.Decode([]byte(s))
		if err != nil {
			return nil, errors.New("a text that is not JSON")
		}
		return v, nil
	case asNumber:
		return toNumber(v)
	case asInteger:
		return toInteger(v)
	case asBoolean:
		return toBoolean(v)
	}
	return v, nil
}

func toNumber(v any) (any, error) {
	if value.IsNumber(v) {
		return v, nil
	}
	s, ok := v.(string)
	if !ok {
		return nil, errors.New(KindOf(v) + ", not a number")
	}
	return parseNumber(s)
}

// parseNumber reads the number in a text as people write it: blanks around it, + and zeros before it.
func parseNumber(s string) (any, error) {
	s = strings.TrimSpace(s)
	sign := ""
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		sign, s = strings.TrimPrefix(s[:1], "+"), s[1:]
	}
	for len(s) > 1 && s[0] == '0' && s[1] >= '0' && s[1] <= '9' {
		s = s[1:]
	}
	n, err := value.Number(sign + s)
	if err != nil || strings.HasPrefix(s, "-") {
		return nil, errors.New("a text that is not a number")
	}
	return n, nil
}

func toInteger(v any) (any, error) {
	n, err := toNumber(v)
	if err != nil {
		return nil, err
	}
	if n, ok := whole(n); ok {
		return n, nil
	}
	return nil, errors.New("a number that is not whole (round(), floor() and ceil() make one)")
}

// whole gives a number without a fraction as an integer: int64, or json.Number where it is larger.
func whole(v any) (any, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case int:
		return int64(v), true
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<63 {
			return int64(v), true
		}
	case json.Number:
		if !strings.ContainsAny(string(v), ".eE") {
			if v == "-0" {
				return int64(0), true
			}
			return v, true
		}
		if f, err := strconv.ParseFloat(string(v), 64); err == nil {
			if i := int64(f); f == math.Trunc(f) && math.Abs(f) < 1<<63 && value.Equal(i, v) {
				return i, true
			}
		}
	}
	return nil, false
}

func toBoolean(v any) (any, error) {
	if b, ok := v.(bool); ok {
		return b, nil
	}
	if value.IsNumber(v) {
		v = value.Text(v)
	}
	s, ok := v.(string)
	if !ok {
		return nil, errors.New(KindOf(v) + ", not a boolean")
	}
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", "off":
		return false, nil
	}
	return nil, errors.New("neither true nor false")
}

// KindOf names what a value is.
func KindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a text"
	case []any:
		return "a list"
	case map[string]any:
		return "a map"
	case time.Time:
		return "a time"
	case time.Duration:
		return "a duration"
	}
	if value.IsNumber(v) {
		return "a number"
	}
	return "a value of another kind"
}
