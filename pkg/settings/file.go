package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// file reads a YAML file, with the line of each value.
func (l *loader) file(path string) {
	if path == "" {
		return
	}
	source, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.problem("", path, "there is no such settings file", "")
		return
	case err != nil:
		l.problem("", path, err.Error(), "")
		return
	}
	var document yaml.Node
	if err := yaml.Unmarshal(source, &document); err != nil {
		l.problem("", path, err.Error(), "")
		return
	}
	if len(document.Content) == 0 {
		return // empty, or comments alone
	}
	f := &settingsFile{loader: l, path: path, values: map[string]any{}, origins: map[string]string{}}
	f.walk("", document.Content[0])
	l.layer(f.values, func(key string) string { return f.origins[key] })
}

type settingsFile struct {
	*loader

	path    string
	values  map[string]any
	origins map[string]string
}

func (f *settingsFile) at(n *yaml.Node) string { return f.path + ":" + strconv.Itoa(n.Line) }

// walk takes the settings of a mapping whose keys stand behind prefix.
func (f *settingsFile) walk(prefix string, n *yaml.Node) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		if n.Tag != "!!null" {
			f.problem(prefix, f.at(n), "is not a mapping of settings", "")
		}
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		f.entry(join(prefix, n.Content[i].Value), n.Content[i], n.Content[i+1])
	}
}

func (f *settingsFile) entry(key string, name, value *yaml.Node) {
	if _, twice := f.origins[key]; twice {
		f.problem(key, f.at(name), "is set twice in this file", "")
		return
	}
	switch {
	case f.isKnown(key):
		var v any
		if err := value.Decode(&v); err != nil {
			f.problem(key, f.at(value), err.Error(), "")
			return
		}
		f.origins[key] = f.at(name)
		if v != nil { // "key:" with nothing behind leaves what was there
			f.values[key] = v
		}
	case f.isGroup(key):
		f.origins[key] = f.at(name)
		f.walk(key, value)
	default:
		f.problem(key, f.at(name), "is not a setting", f.suggest(key))
	}
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return fmt.Sprintf("%s.%s", prefix, name)
}
