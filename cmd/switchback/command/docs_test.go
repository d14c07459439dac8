package command

import (
	"encoding"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/switchbackhq/switchback/cmd/switchback/up"
	"github.com/switchbackhq/switchback/pkg/boot"
	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/settings"
	"github.com/switchbackhq/switchback/services/gateway"
	"github.com/switchbackhq/switchback/services/gateway/docker"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
	"github.com/switchbackhq/switchback/services/listener"
	"github.com/switchbackhq/switchback/services/runner"
)

const docs = "../../../docs"

// Base and Up are what the settings of the services are made of.
type (
	Base = boot.Settings
	Up   = up.Settings
)

// everything is all settings of all services.
type everything struct {
	Base
	Up

	Edge struct {
		boot.NATS

		Domain string `koanf:"domain"`
	} `koanf:"edge"`
}

// defaults are those of the program.
func defaults() *everything {
	layout := bus.DefaultLayout()
	return &everything{
		Base: boot.Settings{NATS: boot.NATS{URL: boot.DefaultNATS}},
		Up: up.Settings{
			Listener: listener.DefaultConfig(), Runner: runner.DefaultConfig(), Docker: docker.Settings{Memory: docker.DefaultMemory},
			Gateway: gateway.Config{LeaseTTL: gateway.DefaultLeaseTTL, ProbeInterval: tunnel.ProbeEvery},
			Streams: boot.Streams{
				Provision: boot.Create, Replicas: layout.Replicas, Storage: boot.File, MaxWait: layout.MaxWait, KeepCallbacks: layout.KeepCallbacks,
				KeepRuns: layout.KeepRuns, KeepReceived: layout.KeepReceived, ReceivedBytes: settings.Size(layout.ReceivedMaxBytes),
				DuplicateWindow: layout.DedupeWindow, Redelivery: layout.AckWait, MaxInline: bus.DefaultMaxInline, MaxObject: bus.DefaultMaxObject,
			},
		},
	}
}

// values gives settings by their keys.
func values(of *everything) map[string]reflect.Value {
	found := map[string]reflect.Value{}
	gather(found, "", reflect.ValueOf(of).Elem())
	return found
}

func gather(found map[string]reflect.Value, prefix string, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key := f.Tag.Get("koanf")
		switch group := f.Type.Kind() == reflect.Struct && !reflect.PointerTo(f.Type).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()); {
		case key == "-":
		case group && key == "":
			gather(found, prefix, v.Field(i))
		case group:
			gather(found, prefix+key+".", v.Field(i))
		default:
			found[prefix+key] = v.Field(i)
		}
	}
}

var inline = regexp.MustCompile("`([^`]*)`")

// TestSettingsAreInTheDocs: the table of docs/operations.md has every setting, no other, and the defaults that the program has.
func TestSettingsAreInTheDocs(t *testing.T) {
	page := pages(t)[filepath.Join(docs, "operations.md")]
	_, table, ok := strings.Cut(page, "| setting | default | |\n|---|---|---|\n")
	if !ok {
		t.Fatal("the page has no table of settings")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	all := values(defaults())
	written := map[string]bool{}
	fallbacks := map[string]any{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		var keys []string
		for _, m := range inline.FindAllStringSubmatch(cells[1], -1) {
			key := m[1]
			if len(keys) > 0 && all[key].Kind() == reflect.Invalid { // of the same group
				group, _, _ := strings.Cut(keys[0], ".")
				key = group + "." + key
			}
			keys = append(keys, key)
			if all[key].Kind() == reflect.Invalid {
				t.Errorf("%s is no setting", key)
			}
			written[key] = true
		}
		if group, _, ok := strings.Cut(keys[0], "."); ok && strings.Contains(cells[1], "…") { // and the others of the group
			for key := range all {
				written[key] = written[key] || strings.HasPrefix(key, group+".")
			}
		}
		each := strings.Split(strings.TrimSpace(strings.ReplaceAll(cells[2], "`", "")), ", ")
		for i, key := range keys {
			if v := all[key]; v.IsValid() && (!v.IsZero() || v.Kind() == reflect.Bool) {
				if len(each) != len(keys) {
					t.Fatalf("%s: %d defaults for %d settings", key, len(each), len(keys))
				}
				fallbacks[key] = each[i]
			}
		}
	}
	for key := range all {
		if !written[key] {
			t.Errorf("%s is not in the table", key)
		}
	}
	var as everything
	if err := settings.Load(&as, settings.Sources{Flags: fallbacks}); err != nil {
		t.Fatal(err)
	}
	for key, v := range values(&as) {
		if text, ok := fallbacks[key]; ok && !v.Equal(all[key]) {
			t.Errorf("%s: the default is %v, and the page says %v", key, all[key], text)
		}
	}
}

// TestVariablesInTheDocs: what the pages call SWITCHBACK_… is a setting, or a variable of compose.yaml.
func TestVariablesInTheDocs(t *testing.T) {
	names := map[string]bool{}
	for key := range values(defaults()) {
		names["SWITCHBACK_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))] = true
	}
	file, err := os.ReadFile(filepath.Join(docs, "..", "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range substituted.FindAllStringSubmatch(string(file), -1) {
		names[m[1]] = true
	}
	for file, text := range pages(t) {
		for _, name := range variable.FindAllString(text, -1) {
			if !names[name] {
				t.Errorf("%s: nobody reads %s", file, name)
			}
		}
	}
}

var (
	variable    = regexp.MustCompile(`\bSWITCHBACK_[A-Z_]*[A-Z]\b`)
	substituted = regexp.MustCompile(`\$\{(SWITCHBACK_[A-Z_]+)`)
)

// TestCommandsInTheDocs: each command of switchback on the pages is one, and has the flags that it is given.
func TestCommandsInTheDocs(t *testing.T) {
	parser, err := kong.New(&grammar{}, kong.Name("switchback"))
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range pages(t) {
		for _, m := range command.FindAllString(text, -1) {
			node := parser.Model.Node
			words := strings.Fields(strings.TrimLeft(m, "`$ "))[1:]
			for len(words) > 0 {
				i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == words[0] || slices.Contains(n.Aliases, words[0]) })
				if i < 0 {
					break
				}
				node, words = node.Children[i], words[1:]
			}
			if len(node.Children) > 0 && len(words) > 0 && plain.MatchString(words[0]) {
				t.Errorf("%s: %q: there is no command %s", file, m, words[0])
			}
			for _, word := range words {
				flag, _, _ := strings.Cut(word, "=")
				if name, ok := strings.CutPrefix(flag, "--"); ok && !slices.ContainsFunc(node.AllFlags(false), func(group []*kong.Flag) bool {
					return slices.ContainsFunc(group, func(f *kong.Flag) bool { return f.Name == name })
				}) {
					t.Errorf("%s: %q: there is no flag %s", file, m, flag)
				}
			}
		}
	}
}

var (
	command = regexp.MustCompile("(?m)(?:`|\\$ )switchback [^`\n|>&;)]*")
	plain   = regexp.MustCompile(`^[a-z]+$`)
)

func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(docs, "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatal("there are no pages", err)
	}
	all := map[string]string{}
	for _, file := range append(files, filepath.Join(docs, "..", "README.md")) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[file] = string(data)
	}
	return all
}
