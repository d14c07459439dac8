package telemetry

import (
	"context"
	"log/slog"
	"time"
)

// Drain makes an Admin say that it is not ready, before anything else stops. It is a supervise.Service, the last to start
// and so the first to be told: a load balancer has its delay to notice, while requests are still taken.
type Drain struct {
	admin *Admin
	delay time.Duration
}

// NewDrain makes the Drain of an Admin.
func NewDrain(a *Admin, delay time.Duration) *Drain { return &Drain{admin: a, delay: delay} }

// Name is "drain".
func (*Drain) Name() string { return "drain" }

// Run waits for the end of ctx, and then for the delay.
func (d *Drain) Run(ctx context.Context) error {
	<-ctx.Done()
	d.admin.draining.Store(true)
	if d.delay <= 0 {
		return nil
	}
	d.admin.log.Info("not ready any more; stopping after the drain delay", slog.Duration("delay", d.delay))
	<-time.After(d.delay) // a second signal ends the process
	return nil
}
