package command

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/gateway"
)

type gatewaysCheckCommand struct {
	Name string `arg:"" optional:"" help:"The gateway's id; not needed where the file has but one."`
	files
	format
}

// Run walks the way of a gateway's tunnels from this machine.
func (g *gatewaysCheckCommand) Run(ctx context.Context, s *streams) error {
	doc, err := compose.Load(g.options())
	if err != nil {
		return fmt.Errorf("load the compose file: %w", err)
	}
	if missing := slices.DeleteFunc(slices.Clone(doc.Needs), func(p compose.Problem) bool { return !strings.HasPrefix(p.Path, "gateway") }); len(missing) > 0 {
		return &compose.Invalid{Problems: missing}
	}
	steps := []jsonStep{}
	err = gateway.Check(ctx, gateway.Config{}, gateway.Deps{Document: doc, Getenv: os.LookupEnv}, g.Name, func(step gateway.Step) {
		if first := len(steps) == 0 || steps[len(steps)-1].Port != step.Port; first && !g.json() {
			fmt.Fprintf(s.out, "%s: port %d, by %s\n", step.Gateway, step.Port, step.Driver)
		}
		steps = append(steps, jsonStep{Step: step, Millis: step.Took.Round(time.Microsecond).Seconds() * 1000})
		if !g.json() {
			printStep(s, step)
		}
	})
	if g.json() && len(steps) > 0 {
		if err := show.JSON(s.out, steps); err != nil {
			return err
		}
	}
	return err
}

// jsonStep is a step for programs.
type jsonStep struct {
	gateway.Step
	Millis float64 `json:"duration_ms,omitempty"` // of a step that was taken
}

func printStep(s *streams, step gateway.Step) {
	mark, took, said := "-", "", step.Said
	switch step.State {
	case gateway.StepOK:
		mark = "ok"
	case gateway.StepFailed:
		mark, said = "FAIL", step.Error
	case gateway.StepUnknown:
		mark = "?"
	case gateway.StepNone, gateway.StepNotTried:
	}
	if step.Took > 0 {
		took = show.Took(step.Took)
	}
	fmt.Fprintf(s.out, "%-4s  %-10s  %6s  %s\n", mark, step.Name, took, show.Clean(said))
	if step.Fix != "" {
		for i, line := range strings.Split(step.Fix, "\n") { // a line to copy is one of its own
			head := "      fix:"
			if i > 0 {
				head = "     "
			}
			fmt.Fprintf(s.out, "%s %s\n", head, show.Clean(line))
		}
	}
}
