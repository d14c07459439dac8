package imports_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath, Name, Dir                          string
	Imports, Deps                                  []string
	GoFiles, TestGoFiles, XTestGoFiles, EmbedFiles []string
}

// path is the package without the project's prefix.
func (p *pkg) path() string { return strings.TrimPrefix(p.ImportPath, project) }

// root is the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// goTool runs the go command in dir and gives its output.
func goTool(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GOWORK="+filepath.Join(root(t), "go.work"), "GOFLAGS=-buildvcs=false")
	out, err := c.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	return out
}

// packages lists every package of go.work.
func packages(t *testing.T) []*pkg {
	t.Helper()
	out := goTool(t, root(t), "list", "-json=ImportPath,Name,Dir,Imports,Deps,GoFiles,TestGoFiles,XTestGoFiles", "work")
	var all []*pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &pkg{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list knows %d packages: the rules would hold nothing", len(all))
	}
	return all
}

// matches tells whether an import path is what the pattern names.
func matches(pattern, path string) bool {
	path = strings.TrimPrefix(path, project)
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == tree || strings.HasPrefix(path, tree+"/")
	}
	return path == pattern
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

// standard tells whether an import path belongs to the standard library: no dot in its first element.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func without(list []string, drop ...string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(drop, s) })
}

// inTests tells the packages whose code is for tests and measurements.
func inTests(path string) bool { return matchesAny([]string{"test/...", "bench/..."}, path) }

// rule gives the rule with the longest match.
func rule(path string) *importRule {
	var best *importRule
	for i := range importRules {
		if r := &importRules[i]; matches(r.of, path) && (best == nil || len(r.of) > len(best.of)) {
			best = r
		}
	}
	return best
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	for _, p := range packages(t) {
		r := rule(p.path())
		if r == nil {
			t.Errorf("%s has no rule: add it to table_test.go with a reason", p.path())
			continue
		}
		for _, i := range p.Imports {
			ours := strings.HasPrefix(i, project)
			switch {
			case ours && !matchesAny(r.only, i):
				t.Errorf("%s imports %s, which is not among %q: %s", p.path(), strings.TrimPrefix(i, project), r.only, r.why)
			case !ours && r.stdlib && !standard(i):
				t.Errorf("%s imports %s, which is not of the standard library: %s", p.path(), i, r.why)
			case matchesAny(r.never, i):
				t.Errorf("%s imports %s: %s", p.path(), i, r.why)
			}
		}
	}
}

func TestReservedPackages(t *testing.T) {
	for _, p := range packages(t) {
		if inTests(p.path()) {
			continue
		}
		for _, r := range reserved {
			for _, i := range p.Imports {
				if matches(r.what, i) && !matchesAny(r.by, p.path()) && !matches(r.what, p.path()) {
					t.Errorf("%s imports %s, which only %q may: %s", p.path(), i, r.by, r.why)
				}
			}
		}
	}
}

func TestCommandsLinkOnlyWhatTheyMay(t *testing.T) {
	for _, p := range packages(t) {
		if p.Name != "main" {
			continue
		}
		i := slices.IndexFunc(linkRules, func(r linkRule) bool { return r.command == p.path() })
		if i < 0 {
			if !inTests(p.path()) {
				t.Errorf("the command %s has no rule: add it to table_test.go with a reason", p.path())
			}
			continue
		}
		for _, dep := range p.Deps {
			if matchesAny(linkRules[i].never, dep) {
				t.Errorf("%s links %s: %s\nsee: go list -deps, or go mod why -m", p.path(), dep, linkRules[i].why)
			}
		}
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, path string
		want          bool
	}{
		{"pkg/bus", project + "pkg/bus", true},
		{"pkg/bus", project + "pkg/bus/bustest", false},
		{"pkg/bus/...", project + "pkg/bus", true},
		{"pkg/bus/...", project + "pkg/bus/bustest", true},
		{"pkg/bus/...", project + "pkg/business", false},
		{natsClient, "github.com/nats-io/nats.go", true},
		{natsClient, "github.com/nats-io/nats.go/jetstream", true},
		{natsServer, "github.com/nats-io/nats-server/v2/server", true},
		{"net", "net/http", false},
		{"testing", "testing", true},
	} {
		if got := matches(test.pattern, test.path); got != test.want {
			t.Errorf("matches(%q, %q) = %t", test.pattern, test.path, got)
		}
	}
}
