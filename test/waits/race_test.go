//go:build race

package waits_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// underRace is how many ids are enough for the race detector: it makes the servers, which are in this process, ten times
// slower (11 ms of CPU an id on three servers, against 1.4 ms).
const underRace = 1500

const child = "SWITCHBACK_WAITS_CHILD"

// TestAtFullSpeed plays all ids, in this package built without the race detector.
func TestAtFullSpeed(t *testing.T) {
	if os.Getenv(child) != "" {
		t.Fatal("go test -race=false has built with the race detector")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to build with")
	}
	cmd := exec.CommandContext(t.Context(), goTool, "test", "-race=false", "-count=1", "-v", "-timeout=15m", //nolint:gosec // our own arguments
		"-run=^(TestWaits|TestNaiveProtocolLoses)$", ".", "-ids", strconv.Itoa(*ids))
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		t.Log(strings.TrimRight(line, "\n"))
	}
	if err != nil {
		t.Errorf("without the race detector: %v", err)
	}
}
