package command

import (
	"context"

	"github.com/switchbackhq/switchback/pkg/telemetry"
)

type healthcheckCommand struct {
	URL string `arg:"" optional:"" default:"http://127.0.0.1:9464/readyz" help:"What answers 200 when all is well (${default}, which is that of up)."`
}

// Run asks once.
func (h *healthcheckCommand) Run(ctx context.Context) error { return telemetry.Healthcheck(ctx, h.URL) }
