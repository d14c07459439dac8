package engine_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// TestOvergrown: what several callbacks have brought to a wait is cut as well, or the document would stay too large.
func TestOvergrown(t *testing.T) {
	several := engine.Acted{
		Job: "a", Attempt: 1, Trigger: "request:7", At: t0, Wait: &engine.Wait{ID: "x", More: []string{"y"}, Quorum: 3},
	}
	large := `"` + strings.Repeat("x", 1<<20) + `"`
	run, _ := play(t, world(component(0), job("a")), requested(t0), several,
		callback("x", 9, event.Succeeded, large, t0), callback("y", 10, event.Succeeded, large, t0),
		engine.Overgrown{Message: "too much", Trigger: "callback:11", At: t0})
	data, err := json.Marshal(run)
	if err != nil || len(data) > 64<<10 || run.Status != event.StatusFailed {
		t.Errorf("%s, %d bytes, %v", run.Status, len(data), err)
	}
}
