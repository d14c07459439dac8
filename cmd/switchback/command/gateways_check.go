package command

import (
	"context"
	"fmt"
	"os"
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
	steps := []gateway.Step{}
	err = gateway.Check(ctx, gateway.Config{}, gateway.Deps{Document: doc, Getenv: os.LookupEnv}, g.Name, func(step gateway.Step) {
		steps = append(steps, step)
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

func printStep(s *streams, step gateway.Step) {
	mark, said := "ok  ", step.Said
	if step.Error != "" {
		mark, said = "FAIL", step.Error
	}
	fmt.Fprintf(s.out, "%s  %-16s %8s  %s\n", mark, step.Name, step.Took.Round(time.Millisecond), show.Clean(said))
	if step.Fix != "" {
		fmt.Fprintf(s.out, "      fix: %s\n", step.Fix)
	}
}
