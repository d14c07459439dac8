package command

import (
	"fmt"
	"runtime/debug"
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
	built := version{Version: "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		built.Version, built.Go = info.Main.Version, info.GoVersion
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				built.Revision = setting.Value
			case "vcs.modified":
				built.Modified = setting.Value == "true"
			}
		}
	}
	return v.print(s, built, func() error {
		text := "switchback " + built.Version
		if built.Revision != "" {
			text += " (" + built.Revision[:min(12, len(built.Revision))] + ")"
		}
		fmt.Fprintln(s.out, text, built.Go)
		return nil
	})
}
