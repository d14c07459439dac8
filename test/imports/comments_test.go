package imports_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sentence is how a package comment begins: one sentence that names the package and says its job.
var sentence = regexp.MustCompile(`^(Package|Command) (\S+) [^.]*(\.\w[^.]*)*\.(\s|$)`)

// Whoever opens a package reads first what it is for: each has a comment, in one file, that begins with one sentence.
func TestEveryPackageSaysItsJob(t *testing.T) {
	const longest = 240
	for _, p := range packages(t) {
		comments := packageComments(t, p)
		if len(comments) != 1 {
			t.Errorf("%s has %d package comments, want 1", p.path(), len(comments))
			continue
		}
		first, _, _ := strings.Cut(comments[0], "\n\n")
		first = strings.Join(strings.Fields(first), " ")
		name := p.Name
		if name == "main" {
			name = filepath.Base(p.ImportPath)
		}
		m := sentence.FindStringSubmatch(first)
		if len(m) < 3 || strings.TrimSuffix(m[2], "_test") != strings.TrimSuffix(name, "_test") {
			t.Errorf("%s: its comment does not begin with one sentence such as “Package %s …”: %q", p.path(), name, first)
			continue
		}
		if len(m[0]) > longest {
			t.Errorf("%s: the first sentence has more than %d bytes: %q", p.path(), longest, m[0])
		}
	}
}

func packageComments(t *testing.T, p *pkg) []string {
	t.Helper()
	files := p.GoFiles
	if len(files) == 0 {
		files = slices.Concat(p.TestGoFiles, p.XTestGoFiles)
	}
	var comments []string
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if text := f.Doc.Text(); text != "" {
			comments = append(comments, text)
		}
	}
	return comments
}
