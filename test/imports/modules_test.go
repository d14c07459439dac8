package imports_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goMod is what `go mod edit -json` says of a go.mod.
type goMod struct {
	Module    struct{ Path string }
	Go        string
	Toolchain string
	Require   []struct{ Path, Version string }
	Replace   []struct {
		Old, New struct{ Path, Version string }
	}
}

// The workspace hides what a module lacks; each go.mod must hold by itself and agree with the others.
func TestModulesAgree(t *testing.T) {
	dir := root(t)
	var work struct {
		Go, Toolchain string
		Use           []struct{ DiskPath string }
		Replace       []any
	}
	if err := json.Unmarshal(goTool(t, dir, "work", "edit", "-json"), &work); err != nil {
		t.Fatal(err)
	}
	if len(work.Replace) > 0 {
		t.Error("go.work replaces modules: keep replaces in the go.mod files, where GOWORK=off sees them")
	}
	mods := map[string]*goMod{} // by directory, relative to the repository
	for _, use := range work.Use {
		rel := filepath.Clean(use.DiskPath)
		m := &goMod{}
		if err := json.Unmarshal(goTool(t, filepath.Join(dir, rel), "mod", "edit", "-json"), m); err != nil {
			t.Fatal(err)
		}
		mods[rel] = m
		if want := project + filepath.ToSlash(rel); m.Module.Path != want {
			t.Errorf("%s/go.mod is of %s, want %s", rel, m.Module.Path, want)
		}
		if m.Go != work.Go || m.Toolchain != work.Toolchain {
			t.Errorf("%s/go.mod says go %s %s, go.work says go %s %s: they must be the same", rel, m.Go, m.Toolchain, work.Go, work.Toolchain)
		}
	}
	for _, file := range modFiles(t, dir) {
		if mods[file] == nil {
			t.Errorf("%s/go.mod is not in go.work", file)
		}
	}
	versions := map[string]map[string]string{} // module → version → the go.mod that wants it
	for rel, m := range mods {
		replaced := map[string]bool{}
		for _, r := range m.Replace {
			replaced[r.Old.Path] = true
			sibling := strings.TrimPrefix(r.Old.Path, project)
			if target := filepath.Join(rel, r.New.Path); mods[sibling] == nil || target != filepath.FromSlash(sibling) || r.New.Version != "" {
				t.Errorf("%s/go.mod replaces %s with %s: only siblings are replaced, by their folders", rel, r.Old.Path, r.New.Path)
			}
		}
		for _, r := range m.Require {
			if strings.HasPrefix(r.Path, project) {
				if !replaced[r.Path] {
					t.Errorf("%s/go.mod requires %s and does not replace it: it would be sought on the network", rel, r.Path)
				}
				continue
			}
			if versions[r.Path] == nil {
				versions[r.Path] = map[string]string{}
			}
			versions[r.Path][r.Version] = rel
		}
	}
	for path, wanted := range versions {
		if len(wanted) > 1 {
			t.Errorf("%s is required in different versions: %v; the workspace hides that (make tidy)", path, wanted)
		}
	}
}

// modFiles lists the folders with a go.mod.
func modFiles(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") && path != dir:
			return filepath.SkipDir
		case d.Name() == "go.mod":
			rel, err := filepath.Rel(dir, filepath.Dir(path))
			found = append(found, rel)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}
