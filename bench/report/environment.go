package report

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
)

// Environment says where the numbers are from.
type Environment struct {
	OS         string `json:"os"`
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Go         string `json:"go"`
	NATSServer string `json:"nats_server"`
	FastHTTP   string `json:"fasthttp"`
	Commit     string `json:"commit"`
}

// ReadEnvironment looks around. What it cannot find out stays "unknown".
func ReadEnvironment(ctx context.Context) Environment {
	e := Environment{
		OS: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuModel(), Cores: runtime.NumCPU(), Go: runtime.Version(),
		NATSServer: "unknown", FastHTTP: "unknown", Commit: commit(ctx),
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return e
	}
	for _, d := range info.Deps {
		switch d.Path {
		case "github.com/nats-io/nats-server/v2":
			e.NATSServer = d.Version
		case "github.com/valyala/fasthttp":
			e.FastHTTP = d.Version
		}
	}
	return e
}

// String is the environment on one line.
func (e Environment) String() string {
	return fmt.Sprintf("%s, %d cores (%s), %s, nats-server %s, fasthttp %s, commit %s; all over the loopback interface",
		e.OS, e.Cores, e.CPU, e.Go, e.NATSServer, e.FastHTTP, e.Commit)
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// commit asks git, for `go run` does not stamp it. A tree with changes says so.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
