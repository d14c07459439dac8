package docs_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
)

// root is the repository.
const root = "../.."

// pages are the texts for users.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, file := range append(files, filepath.Join(root, "README.md"), filepath.Join(root, "ARCHITECTURE.md"), filepath.Join(root, "CONTRIBUTING.md")) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[file] = string(data)
	}
	return all
}

var (
	yamlBlock = regexp.MustCompile("\n```yaml\n((?s:.*?)\n)```\n")
	section   = regexp.MustCompile(`^(listener|gateway|component|workflow|controller)s?:`)
)

// around is what the parts of a compose file on the pages stand in, told by how they begin.
var around = []struct {
	part   *regexp.Regexp
	before string
}{
	{section, ""},
	{regexp.MustCompile(`^  \w+:`), "workflows:\n"},
	{regexp.MustCompile(`^    \w+:`), "components:\n  part:\n    base_url: https://service.example\n"},
	{regexp.MustCompile(`^      - id:`), "workflows:\n  part:\n    jobs:\n"},
}

// other are what yaml on the pages may be besides: Prometheus's, and settings.
var other = regexp.MustCompile(`^(scrape_configs|streams):`)

// TestSnippets loads every example that is a compose file, or a part of one.
func TestSnippets(t *testing.T) {
	for file, text := range pages(t) {
		for _, m := range yamlBlock.FindAllStringSubmatch(text, -1) {
			if other.MatchString(m[1]) {
				continue
			}
			known := false
			for _, a := range around {
				if !known && a.part.MatchString(m[1]) {
					known, m[1] = true, a.before+m[1]
				}
			}
			if !known {
				t.Errorf("%s: it is not known what this is a part of:\n%s", file, m[1])
				continue
			}
			// A fragment may name components that are elsewhere in the file.
			name := filepath.Join(t.TempDir(), "switchback.yaml")
			if err := os.WriteFile(name, []byte(m[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := compose.Load(compose.Options{Files: []string{name}})
			if invalid, ok := errors.AsType[*compose.Invalid](err); ok {
				for _, p := range invalid.Problems {
					t.Errorf("%s: %s (%s)\n%s", file, p.Message, p.Hint, m[1])
				}
			} else if err != nil {
				t.Error(err)
			}
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notWord = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinks follows every link within the repository, to the heading that it names.
func TestLinks(t *testing.T) {
	all := pages(t)
	for file, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := file
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(file), m[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: there is no %s", file, m[1])
				continue
			}
			if m[2] == "" || filepath.Ext(target) != ".md" {
				continue
			}
			page, ok := all[target]
			if !ok {
				continue
			}
			found := false
			for _, h := range heading.FindAllStringSubmatch(page, -1) {
				found = found || "#"+strings.ReplaceAll(notWord.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == m[2]
			}
			if !found {
				t.Errorf("%s: there is no heading for %s%s", file, m[1], m[2])
			}
		}
	}
}

var (
	fenced  = regexp.MustCompile("\n```(\\w*)\n((?s:.*?)\n)```\n")
	inline  = regexp.MustCompile("`([^`\n]*)`")
	between = regexp.MustCompile(`\s{2,}`)
)

// TestExpressions compiles every expression of the page on them.
func TestExpressions(t *testing.T) {
	text := pages(t)[filepath.Join(root, "docs", "expressions.md")]
	var all []string
	for _, m := range fenced.FindAllStringSubmatch(text, -1) {
		if m[1] != "" { // yaml, which TestSnippets loads
			continue
		}
		for line := range strings.Lines(m[2]) {
			all = append(all, between.Split(strings.TrimSpace(line), -1)...)
		}
	}
	for _, m := range inline.FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], "${") && !strings.Contains(m[1], "…") && m[1] != "$${" && m[1] != "${" {
			all = append(all, m[1])
		}
	}
	rules := expr.Rules{Sources: map[string]expr.Arg{"listener": expr.OptionalArg, "gateway": expr.RequiredArg}}
	for _, source := range []string{"body", "query", "input", "output", "context", "env"} {
		rules.Sources[source] = expr.NoArg
	}
	if len(all) < 25 {
		t.Errorf("only %d expressions were found", len(all))
	}
	for _, e := range all {
		if _, problems := expr.Compile(e, rules); len(problems) > 0 || !strings.Contains(e, "${") {
			t.Errorf("%s: %+v", e, problems)
		}
	}
}

// TestStreamsAreInTheDocs: each stream and bucket that is made has its place in both tables of them.
func TestStreamsAreInTheDocs(t *testing.T) {
	all := pages(t)
	for _, it := range bus.DefaultLayout().Items() {
		if it.Consumer != "" {
			continue
		}
		if !strings.Contains(all[filepath.Join(root, "ARCHITECTURE.md")], "`"+it.Stream+"`") {
			t.Errorf("ARCHITECTURE.md has no %s", it.Stream)
		}
		row := "| stream `" + it.Stream + "` "
		if name, ok := strings.CutPrefix(it.Stream, "KV_"); ok {
			row = "| bucket `" + name + "` "
		} else if name, ok := strings.CutPrefix(it.Stream, "OBJ_"); ok {
			row = "| object store `" + name + "` "
		}
		if !strings.Contains(all[filepath.Join(root, "docs", "nats.md")], row) {
			t.Errorf("docs/nats.md has no row %s", row)
		}
	}
}

var confBlock = regexp.MustCompile("\n```conf\n((?s:.*?)\n)```\n")

// TestServerSettings: nats-server takes what the page says of its settings, and understands it as it is meant.
func TestServerSettings(t *testing.T) {
	blocks := confBlock.FindAllStringSubmatch(pages(t)[filepath.Join(root, "docs", "nats.md")], -1)
	if len(blocks) != 1 {
		t.Fatalf("%d files of settings", len(blocks))
	}
	var o server.Options
	if err := o.ProcessConfigString(blocks[0][1]); err != nil {
		t.Fatal(err)
	}
	if !o.JetStream || !o.NoSublistCache || o.StoreDir == "" || o.SyncInterval != 5*time.Second || o.MaxPayload < 8e6 || o.JetStreamMaxStore < 1e9 || o.HTTPPort == 0 {
		t.Errorf("understood as %+v", o)
	}
}
