package command

import (
	"cmp"
	"fmt"

	"github.com/switchbackhq/switchback/pkg/telemetry"
)

type versionCommand struct {
	format
}

type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
}

// Run prints what was built.
func (v *versionCommand) Run(s *streams) error {
	b := telemetry.Built()
	built := version{Version: cmp.Or(b.Version, "unknown"), Revision: b.Revision, Modified: b.Modified, Go: b.Go}
	return v.print(s, built, func() error {
		text := "switchback " + built.Version
		if built.Revision != "" {
			text += " (" + built.Revision[:min(12, len(built.Revision))] + ")"
		}
		fmt.Fprintln(s.out, text, built.Go)
		return nil
	})
}
