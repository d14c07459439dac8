package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/switchbackhq/switchback/cmd/switchback/demo"
	"github.com/switchbackhq/switchback/cmd/switchback/demo/painter"
	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

type demoCommand struct {
	Run     demoRunCommand     `cmd:"" default:"withargs" help:"Start a system, run the example in examples/image-generation, and stop."`
	Service demoServiceCommand `cmd:"" help:"Run the outside service of the examples alone."`
}

type demoRunCommand struct {
	Pairs   []string `name:"set-input" short:"i" sep:"none" placeholder:"K=V" help:"One value of the input: prompt, size or style."`
	Verbose bool     `short:"v" help:"Show what the parts of the system say."`
	format
}

// Run runs the demo.
func (d *demoRunCommand) Run(ctx context.Context, s *streams) error {
	input, err := runInput("", d.Pairs, s.in)
	if err != nil {
		return err
	}
	o := demo.Options{Input: input, Progress: s.err, Out: io.Discard, Log: telemetry.NewLogger(s.err, slog.LevelWarn, telemetry.Pretty)}
	if d.Verbose {
		o.Out, o.Log = s.err, telemetry.NewLogger(s.err, slog.LevelInfo, telemetry.Pretty)
	}
	run, err := demo.Run(ctx, o)
	if err != nil {
		return err
	}
	if run == nil || !run.Status.Ended() {
		return context.Cause(ctx) // told to stop
	}
	if d.json() {
		if err := show.JSON(s.out, run); err != nil {
			return err
		}
	} else if len(run.Output) > 0 {
		if err := show.JSON(s.out, run.Output); err != nil {
			return err
		}
	}
	if err := outcome(run); err != nil {
		// What outcome says to try would look into a system that is gone.
		return &exit{code(err), errors.New(err.Error())}
	}
	return nil
}

type demoServiceCommand struct {
	Addr string `default:"127.0.0.1:9100" placeholder:"ADDR" help:"Where it listens (${default})."`
}

// Run runs the outside service until it is told to stop.
func (d *demoServiceCommand) Run(ctx context.Context, s *streams) error {
	log := telemetry.NewLogger(s.err, slog.LevelInfo, telemetry.Pretty)
	p := painter.New(painter.Config{Addr: d.Addr}, log)
	return supervise.Run(ctx, log, p, supervise.Func("lines", func(ctx context.Context) error {
		fmt.Fprintf(s.out, "[Service] Takes orders at %s/pictures and %s/frames\n", p.URL(), p.URL())
		<-ctx.Done()
		return nil
	}))
}
