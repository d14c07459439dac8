// Package settings fills one typed struct from defaults, a file, the environment and flags, and reports every error at once.
package settings

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Sources is where settings come from. Later ones win: what dst holds already, File, Environ, Flags.
type Sources struct {
	// File is the path of a YAML file, or "" for none. A file that was named must exist.
	File string
	// EnvPrefix is what the variables begin with, "SWITCHBACK_": the setting nats.url is SWITCHBACK_NATS_URL.
	EnvPrefix string
	// Environ is the environment as os.Environ gives it; nil means os.Environ().
	Environ []string
	// Flags holds the flags that were given on the command line, by the setting's key: "nats.url".
	Flags map[string]any
}

// Load fills *dst, a struct whose fields are tagged `koanf:"key"`; nested structs give dotted keys. What dst
// holds already are the defaults. A Validate() error method of *T is called last. The error is an [*Error]:
// every unknown key, wrong type and invalid value at once, each with where it was written.
func Load[T any](dst *T, from Sources) error {
	known, err := fieldsOf(reflect.ValueOf(dst).Elem())
	if err != nil {
		return err
	}
	l := &loader{known: known, merged: koanf.New("."), origins: map[string]string{}}
	l.file(from.File)
	l.environment(from.EnvPrefix, from.Environ)
	l.flags(from.Flags)
	for i := range l.known {
		l.set(&l.known[i])
	}
	if v, ok := any(dst).(interface{ Validate() error }); ok && len(l.problems) == 0 {
		l.validated(v.Validate())
	}
	if len(l.problems) > 0 {
		return &Error{Problems: l.problems}
	}
	return nil
}

// Pairs reads flags of the form KEY=VALUE into Sources.Flags.
func Pairs(flags []string) (map[string]any, error) {
	values := map[string]any{}
	for _, flag := range flags {
		key, value, ok := strings.Cut(flag, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q is not KEY=VALUE", flag)
		}
		values[key] = value
	}
	return values, nil
}

// loader gathers the layers and what is wrong with them.
type loader struct {
	known    []field
	merged   *koanf.Koanf
	given    map[string]any    // the flags: koanf copies values deeply and loses what is unexported in them
	origins  map[string]string // key → where its value was written
	problems []Problem
}

func (l *loader) problem(key, origin, message, hint string) {
	l.problems = append(l.problems, Problem{Key: key, Origin: origin, Message: message, Hint: hint})
}

// layer puts values, by their dotted keys, over what is there.
func (l *loader) layer(values map[string]any, origin func(key string) string) {
	for key := range values {
		l.origins[key] = origin(key)
	}
	if err := l.merged.Load(confmap.Provider(values, "."), nil); err != nil {
		l.problem("", "", err.Error(), "")
	}
}

// environment takes the variables that name a setting. Others with the prefix belong to other programs (one
// environment file may serve several services), unless they look like a slip of the pen.
func (l *loader) environment(prefix string, environ []string) {
	if prefix == "" {
		return
	}
	if environ == nil {
		environ = os.Environ()
	}
	byName := map[string]string{}
	for _, f := range l.known {
		byName[variable(prefix, f.key)] = f.key
	}
	values := map[string]any{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if value == "" || !strings.HasPrefix(name, prefix) {
			continue // an empty variable is how compose files say "not set"
		}
		if key, ok := byName[name]; ok {
			values[key] = value
		} else if near := nearest(name, byName); near != "" {
			l.problem(name, "", "is not a setting", "did you mean "+near+"?")
		}
	}
	l.layer(values, func(key string) string { return variable(prefix, key) })
}

// variable is the name of a setting in the environment.
func variable(prefix, key string) string {
	return prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

func (l *loader) flags(flags map[string]any) {
	values := map[string]any{}
	for key, value := range flags {
		if l.isKnown(key) {
			values[key] = value
		} else {
			l.problem(key, "flag for "+key, "is not a setting", l.suggest(key))
		}
	}
	l.given = values
	l.layer(values, func(key string) string { return "flag for " + key })
}

func (l *loader) isKnown(key string) bool {
	return slices.ContainsFunc(l.known, func(f field) bool { return f.key == key })
}

func (l *loader) isGroup(key string) bool {
	return slices.ContainsFunc(l.known, func(f field) bool { return strings.HasPrefix(f.key, key+".") })
}

// set decodes the merged value of f, if there is one.
func (l *loader) set(f *field) {
	if !l.merged.Exists(f.key) {
		return
	}
	raw, ok := l.given[f.key]
	if !ok {
		raw = l.merged.Get(f.key)
	}
	fresh := reflect.New(f.value.Type()).Elem() // what cannot be read leaves the default
	if err := decode(raw, fresh); err != nil {
		shown := strconv.Quote(fmt.Sprint(raw))
		if f.secret() {
			shown = mask
		}
		l.problem(f.key, l.origins[f.key], fmt.Sprintf("= %s %s", shown, err), "")
		return
	}
	f.value.Set(fresh)
}

// validated adds what Validate has found, one problem an error.
func (l *loader) validated(err error) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			l.validated(e)
		}
		return
	}
	l.problem("", "", err.Error(), "")
}
