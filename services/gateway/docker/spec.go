package docker

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Spec is a container as it is wanted.
type Spec struct {
	Name  string // one of each at an owner
	Image string
	Args  []string // of the image's entry point
	Env   []string
	Dir   string // to run in
	// Files are put into the container before it starts, by their absolute path. Their folders are volumes: what the
	// image has there stays.
	Files map[string][]byte
	// Ports are published to this machine on a network that is not the host's.
	Ports []Port
	// Reaches are addresses of this machine, host:port, that the container must reach, and what they are.
	Reaches map[string]string

	Stdout, Stderr io.Writer // what it says; nil: nobody reads
}

// Port is a port that is published.
type Port struct {
	Inside int
	IP     string // of this machine
	Here   int    // 0: any
}

// The account in a container: nobody's, and the one of images without a system.
const account = 65532

// hash tells whether a container that is found is the one that is wanted. Secrets go through it.
func (s *Spec) hash(settings Settings) string {
	v := *s
	v.Stdout, v.Stderr = nil, nil
	v.Env = slices.Sorted(slices.Values(s.Env))
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v %+v", v, settings))
	return hex.EncodeToString(sum[:])
}

var notInName = regexp.MustCompile(`[^a-zA-Z0-9_.-]+`)

// name is the container's.
func (s *Spec) name(owner string) string {
	return "switchback-" + owner + "-" + notInName.ReplaceAllString(s.Name, "-")
}

// folders are those of the files.
func (s *Spec) folders() []string {
	var all []string
	for name := range s.Files {
		if dir := path.Dir(name); !slices.Contains(all, dir) {
			all = append(all, dir)
		}
	}
	slices.Sort(all)
	// A folder within another one needs no volume of its own.
	return slices.DeleteFunc(all, func(dir string) bool {
		return slices.ContainsFunc(all, func(other string) bool { return strings.HasPrefix(dir, strings.TrimSuffix(other, "/")+"/") })
	})
}

// archive is the files of a folder, for the account alone.
func (s *Spec) archive(folder string) (io.Reader, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		inside, ok := strings.CutPrefix(name, strings.TrimSuffix(folder, "/")+"/")
		if !ok {
			continue
		}
		h := &tar.Header{Name: inside, Mode: 0o400, Uid: account, Gid: account, Size: int64(len(s.Files[name])), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
		if _, err := w.Write(s.Files[name]); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack a container's files: %w", err)
	}
	return &out, nil
}
