package settings

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
)

// tag names a field's key.
const tag = "koanf"

// field is one setting: a place in the struct.
type field struct {
	key   string
	value reflect.Value
}

// secret tells whether its value must not be shown.
func (f *field) secret() bool {
	t := f.value.Type()
	for t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t == reflect.TypeFor[Secret]()
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// fieldsOf lists the settings of a struct in their order. A struct that cannot hold settings is a mistake in the program.
func fieldsOf(v reflect.Value) ([]field, error) {
	if v.Kind() != reflect.Struct {
		return nil, fmt.Errorf("settings are loaded into a struct, not into %s", v.Type())
	}
	return appendFields(nil, "", v)
}

func appendFields(fields []field, prefix string, v reflect.Value) ([]field, error) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get(tag), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		key := prefix + name
		if isGroup(f.Type) {
			if name != "" {
				key += "."
			} else if !f.Anonymous {
				return nil, fmt.Errorf("%s.%s has no %s tag", v.Type(), f.Name, tag)
			}
			nested, err := appendFields(fields, key, v.Field(i))
			if err != nil {
				return nil, err
			}
			fields = nested
			continue
		}
		if name == "" {
			return nil, fmt.Errorf("%s.%s has no %s tag", v.Type(), f.Name, tag)
		}
		if !decodable(f.Type) {
			return nil, fmt.Errorf("%s.%s: a %s cannot be a setting", v.Type(), f.Name, f.Type)
		}
		fields = append(fields, field{key: key, value: v.Field(i)})
	}
	return fields, nil
}

// isGroup tells a struct that groups settings from one that is a value.
func isGroup(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textUnmarshaler)
}
