package settings

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

var duration = reflect.TypeFor[time.Duration]()

// decodable tells whether decode knows the type.
func decodable(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	case reflect.Slice:
		return decodable(t.Elem())
	default:
		return false
	}
}

// decode puts raw into dst: typed as YAML or a flag gave it, or text from the environment.
func decode(raw any, dst reflect.Value) error {
	v := reflect.ValueOf(raw)
	if v.Type() == dst.Type() {
		dst.Set(v)
		return nil
	}
	readsText := dst.Addr().Type().Implements(textUnmarshaler)
	if dst.Kind() == reflect.Slice && !readsText {
		return decodeList(raw, dst)
	}
	text := fmt.Sprint(raw)
	switch {
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Map:
		return errors.New("is no single value")
	case readsText:
		return decodeText(text, dst)
	case dst.Type() == duration:
		d, err := ParseDuration(text)
		dst.SetInt(int64(d))
		return err
	case dst.Kind() != reflect.String:
		return decodeScalar(text, dst)
	case v.Kind() != reflect.String:
		return errors.New("is no text: put it in quotes") // 0123 would not come back digit for digit
	default:
		dst.SetString(text)
		return nil
	}
}

func decodeText(text string, dst reflect.Value) error {
	u, ok := dst.Addr().Interface().(encoding.TextUnmarshaler)
	if !ok {
		return fmt.Errorf("%s reads no text", dst.Type())
	}
	return u.UnmarshalText([]byte(text)) //nolint:wrapcheck // the caller says which setting
}

// decodeList reads a list; text is one with commas between its items.
func decodeList(raw any, dst reflect.Value) error {
	var items []any
	switch v := raw.(type) {
	case []any:
		items = v
	case string:
		for item := range strings.SplitSeq(v, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
	default:
		return errors.New("is no list")
	}
	list := reflect.MakeSlice(dst.Type(), len(items), len(items))
	for i, item := range items {
		if item == nil {
			return fmt.Errorf("item %d is empty", i+1)
		}
		if err := decode(item, list.Index(i)); err != nil {
			return fmt.Errorf("item %d: %w", i+1, err)
		}
	}
	dst.Set(list)
	return nil
}

func decodeScalar(text string, dst reflect.Value) error {
	switch dst.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("is neither true nor false")
		}
		dst.SetBool(b)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return errors.New("is no number")
		}
		dst.SetFloat(f)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, dst.Type().Bits())
		if err != nil {
			return numberReason(err, "is no whole number of 0 or more")
		}
		dst.SetUint(n)
	default:
		n, err := strconv.ParseInt(text, 10, dst.Type().Bits())
		if err != nil {
			return numberReason(err, "is no whole number")
		}
		dst.SetInt(n)
	}
	return nil
}

func numberReason(err error, syntax string) error {
	if errors.Is(err, strconv.ErrRange) {
		return errors.New("is out of range")
	}
	return errors.New(syntax)
}
