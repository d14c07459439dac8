package compose

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Options say what to load.
type Options struct {
	Files []string // merged left to right; none: what Find finds in Dir
	Dir   string   // where relative names are looked for; empty: the working directory
	// Set are values laid over the files: path=value. The value is YAML.
	Set []string
	// Environ holds variables as os.Environ gives them. Those that begin with SWITCHBACK_SET__ are laid over the
	// files as well, below Set.
	Environ []string
	// Env looks variables up; nil: in Environ, and where that is nil as well in the process's environment.
	Env func(string) (string, bool)
}

// Names are the names of a compose file, in the order in which they are looked for.
func Names() []string {
	return []string{"switchback.yaml", "switchback.yml", "model-compose.yml", "model-compose.yaml"}
}

// Find gives the compose file of a folder.
func Find(dir string) ([]string, error) {
	for _, name := range Names() {
		file := filepath.Join(dir, name)
		switch info, err := os.Stat(file); {
		case err == nil && !info.IsDir():
			return []string{file}, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, fault.Wrap(err, fault.NotFound, "look for "+file, "")
		}
	}
	where := cmp.Or(dir, "the working directory")
	return nil, fault.New(fault.NotFound, "there is no compose file in "+where, "write "+Names()[0]+", or name a file with -f")
}

// Load reads compose files. What is wrong in them comes back all at once, as *Invalid.
func Load(o Options) (*Document, error) {
	files := o.Files
	if len(files) == 0 {
		var err error
		if files, err = Find(o.Dir); err != nil {
			return nil, err
		}
	}
	environ := o.Environ
	if environ == nil && o.Env == nil {
		environ = os.Environ()
	}
	d := newDecoder(lookup(o.Env, environ))
	d.look = func(path string) ([]byte, error) { return look(o.Dir, path) }
	d.stat = func(path string) (fs.FileInfo, error) {
		path, err := located(o.Dir, path)
		if err != nil {
			return nil, err
		}
		return os.Stat(path)
	}
	var layers []*node
	for _, file := range files {
		path := file
		if o.Dir != "" && !filepath.IsAbs(file) && len(o.Files) > 0 {
			path = filepath.Join(o.Dir, file)
		}
		data, err := readFile(path)
		if err != nil {
			return nil, err
		}
		if n := d.layer(file, data); n != nil {
			layers = append(layers, n)
		}
	}
	return d.finish(layers, environ, o.Set)
}

// Parse reads one compose file from memory. Nothing but env is looked at, so key files are not missed.
func Parse(source []byte, env func(string) (string, bool)) (*Document, error) {
	d := newDecoder(env)
	var layers []*node
	if n := d.layer("", source); n != nil {
		layers = append(layers, n)
	}
	return d.finish(layers, nil, nil)
}

func newDecoder(env func(string) (string, bool)) *decoder {
	if env == nil {
		env = os.LookupEnv
	}
	return &decoder{
		env: env, lines: map[string][]string{}, scopes: newScopes(),
		declared: map[string]bool{}, broken: map[string]bool{}, placed: map[any]*node{}, jobs: map[*Job]*draft{},
	}
}

// layer reads one file.
func (d *decoder) layer(file string, data []byte) *node {
	r := reader{file: file, unbounded: d.stored}
	n := r.read(data)
	d.problems = append(d.problems, r.problems...)
	d.holes = d.holes || n == nil || r.holes
	d.lines[file] = r.lines
	d.files = append(d.files, file)
	switch {
	case n == nil:
	case n.kind == null:
		n.kind = mapping // an empty file: as good as {}
	case n.kind != mapping:
		d.wrongf(n, "", "a compose file must be a mapping, and is %s", n.word())
		n, d.holes = nil, true
	}
	return n
}

// finish merges the layers and reads what comes of it.
func (d *decoder) finish(layers []*node, environ, set []string) (*Document, error) {
	if d.holes || len(layers) == 0 {
		return nil, d.invalid()
	}
	d.apart(layers)
	root, err := merge(layers)
	if err != nil {
		return nil, err
	}
	all, problems := settings(environ, set)
	d.problems = append(d.problems, problems...)
	for _, s := range all {
		d.lines[s.origin] = []string{strings.Join(s.path, ".") + "=" + s.text}
		d.files = append(d.files, s.origin)
		layer, problem := s.layer(root)
		if problem != nil {
			d.problems = append(d.problems, *problem)
			continue
		}
		if root, err = merge([]*node{root, layer}); err != nil {
			return nil, err
		}
	}
	doc := d.document(root)
	if d.stored {
		d.contain(doc)
	} else if len(d.problems) > 0 {
		return nil, d.invalid()
	}
	doc.Needs = ordered(d.needs, d.files)
	return doc, nil
}

func (d *decoder) invalid() error {
	return &Invalid{Problems: ordered(d.problems, d.files)}
}

func lookup(env func(string) (string, bool), environ []string) func(string) (string, bool) {
	if env != nil {
		return env
	}
	values := make(map[string]string, len(environ))
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		values[name] = value
	}
	return func(name string) (string, bool) {
		v, ok := values[name]
		return v, ok
	}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.NotFound, "there is no file "+path, "name another one with -f")
	case err != nil:
		return nil, fault.Wrap(err, fault.NotFound, "open "+path, "")
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, fault.Wrap(err, fault.NotFound, "read "+path, "")
	}
	return data, nil
}

// look reads a file that the document names.
func look(dir, path string) ([]byte, error) {
	path, err := located(dir, path)
	if err != nil {
		return nil, err
	}
	return readFile(path)
}

// located is where a file is that the document names.
func located(dir, path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the home folder: %w", err)
		}
		path = filepath.Join(home, rest)
	}
	if dir != "" && !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return path, nil
}

// top are the keys of a document.
func top() []string {
	var names []string
	for _, s := range sections() {
		names = append(names, s.singular, s.plural)
	}
	return append(names, "controller")
}

// document reads the merged tree.
func (d *decoder) document(root *node) *Document {
	doc := &Document{Components: map[string]*Component{}}
	for _, name := range root.names {
		if !strings.HasPrefix(name, "x-") && !slices.Contains(top(), name) {
			d.wrongKeyf(root.fields[name], suggest(name, top()), "a compose file has no section %q", name)
		}
	}
	kinds := sections()
	d.readListeners(doc, d.entries(root, kinds[0]))
	d.readGateways(doc, d.entries(root, kinds[1]))
	d.readComponents(doc, d.entries(root, kinds[2]))
	d.readWorkflows(doc, d.entries(root, kinds[3]))
	d.readController(doc, root.get("controller"))
	d.ports(doc)
	d.references(doc)
	d.waiting(doc)
	d.order(doc)
	doc.Source, doc.Hash = canonical(root)
	if len(doc.Source) > maxFileSize*3/4 {
		d.judgef(root, "", "the compose file is larger than %d KiB once it is put together", maxFileSize*3/4>>10)
	}
	return doc
}
