package telemetry

import (
	"cmp"
	"runtime/debug"
)

// Told by the linker where the source comes without its history, as in an image's build: -ldflags '-X …/pkg/telemetry.version=v1.2.3'.
var version, revision string

// Build is what was built.
type Build struct {
	Version  string // "" where nobody knows
	Revision string
	Modified bool // has changes that are not in Revision
	Go       string
}

// Built tells what this binary was built of.
func Built() Build {
	var b Build
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Version, b.Go = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	b.Version, b.Revision = cmp.Or(version, b.Version), cmp.Or(revision, b.Revision)
	return b
}
