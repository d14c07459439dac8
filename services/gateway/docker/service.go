package docker

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
)

// Service is one of this project's services, for one entry of the compose file, in a container.
type Service struct {
	Kind     string // listener or gateway: the section of the file, the service and its setting
	ID       string // of the entry
	Image    string
	Document *compose.Document
	NATS     string   // URL, as this process sees it
	Set      []string // path=value below the entry, laid over the file
	Files    []string // that the entry names
	Ports    []Port
	Reaches  map[string]string
	Getenv   func(string) (string, bool)
	// Environ is the process's. Settings are handed on, the variables that the section names, and Variables.
	Environ   []string
	Variables []string
}

// file is where the compose file is in a container.
const file = "/run/switchback/switchback.yaml"

// natsFiles are settings that name files.
var natsFiles = []string{
	"SWITCHBACK_NATS_CREDENTIALS", "SWITCHBACK_NATS_NKEY_FILE", "SWITCHBACK_NATS_CA_FILE", "SWITCHBACK_NATS_CERT_FILE", "SWITCHBACK_NATS_KEY_FILE",
}

// Spec makes the container that is wanted of a service. It reads the files that go into it.
func (e *Engine) Spec(s *Service) (*Spec, error) {
	nats, err := e.fromInside(s.NATS)
	if err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	out := &Spec{
		Name: s.Kind + "-" + s.ID, Image: s.Image, Dir: dir, Ports: s.Ports, Reaches: map[string]string{},
		Args: []string{"-f", file}, Files: map[string][]byte{file: s.Document.Source},
	}
	if u, err := url.Parse(s.NATS); err == nil && u.Port() != "" {
		out.Reaches[u.Host] = "NATS"
	}
	maps.Copy(out.Reaches, s.Reaches)
	for _, set := range s.Set {
		out.Args = append(out.Args, "--set", s.entry()+"."+set)
	}
	files := s.Files
	for _, v := range s.Environ {
		name, value, _ := strings.Cut(v, "=")
		switch {
		case !strings.HasPrefix(name, "SWITCHBACK_") || strings.HasPrefix(name, "SWITCHBACK_SET__"):
			continue // what lay over the file is in it by now
		case slices.Contains(natsFiles, name):
			files = append(files, value)
		case slices.Contains([]string{"SWITCHBACK_NATS_URL", "SWITCHBACK_ADMIN_ADDR", "SWITCHBACK_LOG_FORMAT"}, name):
			continue
		}
		out.Env = append(out.Env, v)
	}
	for _, name := range append(s.variables(), s.Variables...) {
		if v, ok := s.Getenv(name); ok {
			out.Env = append(out.Env, name+"="+v)
		}
	}
	out.Env = append(out.Env,
		"HOME="+home, "SWITCHBACK_NATS_URL="+nats, "SWITCHBACK_LOG_FORMAT=json", "SWITCHBACK_"+strings.ToUpper(s.Kind)+"_"+strings.ToUpper(s.Kind)+"S="+s.ID)
	for _, name := range files {
		if rest, ok := strings.CutPrefix(name, "~/"); ok {
			name = filepath.Join(home, rest)
		}
		path, err := filepath.Abs(name)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
		data, err := os.ReadFile(path) //nolint:gosec // the operator names it
		if err != nil {
			return nil, fault.Wrap(err, fault.NotFound, "a file for the container "+out.Name+" cannot be read", "")
		}
		out.Files[path] = data
	}
	return out, nil
}

// entry is the path of the service's entry in the file.
func (s *Service) entry() string {
	if strings.Contains("\n"+string(s.Document.Source), "\n"+s.Kind+"s:") && !alone(s.Document, s.Kind) {
		return s.Kind + "s." + s.ID
	}
	return s.Kind
}

func alone(d *compose.Document, kind string) bool {
	if kind == "listener" {
		return len(d.Listeners) == 1
	}
	return len(d.Gateways) == 1
}

var variable = regexp.MustCompile(`\benv(?:\.([\pL\pN_-]+)|\["([^"]+)"\])`)

// variables are those that the service's section of the file names: it gets no other, so that the keys of outside
// services stay away from who does not need them.
func (s *Service) variables() []string {
	var names []string
	mine := false
	for line := range strings.Lines(string(s.Document.Source)) {
		if line != "" && !strings.ContainsAny(line[:1], " \t-\n#") {
			mine = strings.HasPrefix(line, s.Kind)
		}
		if !mine {
			continue
		}
		for _, m := range variable.FindAllStringSubmatch(line, -1) {
			if name := cmp.Or(m[1], m[2]); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// fromInside writes the URL of something on this machine as a container sees it.
func (e *Engine) fromInside(address string) (string, error) {
	var all []string
	for one := range strings.SplitSeq(address, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil {
			return "", fault.New(fault.Usage, "the URL of NATS cannot be read", "write nats://HOST:PORT")
		}
		if loopbackName(u.Hostname()) && !e.OnHost() {
			u.Host = strings.TrimSuffix(e.LocalName()+":"+u.Port(), ":")
		}
		all = append(all, u.String())
	}
	return strings.Join(all, ","), nil
}
