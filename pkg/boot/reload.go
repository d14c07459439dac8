package boot

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/supervise"
)

// Reloader is a service that takes over a changed compose file while it runs. It tells what waits for a restart. With an
// error it goes on as before.
type Reloader interface {
	Reload(ctx context.Context, doc *compose.Document) (waiting []string, err error)
}

// onHangUp reads the compose file again when the process gets SIGHUP.
func onHangUp(r Reloader, doc *compose.Document, load func() (*compose.Document, error), log *slog.Logger) supervise.Service {
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP) // from the start: it would end the process otherwise
	return supervise.Func("reload", func(ctx context.Context) error {
		defer signal.Stop(hangUp)
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-hangUp:
			}
			next, err := load()
			var waiting []string
			if err == nil {
				waiting, err = r.Reload(ctx, next)
			}
			if err != nil {
				log.Error("the compose file was not taken over", slog.Any("error", err), slog.String("hint", fault.HintOf(err)))
				continue
			}
			log.Info("the compose file was read again", slog.String("changes", strings.Join(compose.Changes(doc, next), ", ")))
			for _, w := range waiting {
				log.Warn("a change waits for a restart", slog.String("what", w))
			}
			doc = next
		}
	})
}
