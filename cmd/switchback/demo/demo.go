// Package demo is everything at once: a system with an outside service, and one run through them, in one process on
// free ports, gone when it ends.
package demo

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/cmd/switchback/demo/painter"
	"github.com/switchbackhq/switchback/cmd/switchback/embed"
	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/cmd/switchback/up"
	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

// file is examples/image-generation/switchback.yaml, word for word.
//
//go:embed switchback.yaml
var file []byte

// Options say what to paint and where to write.
type Options struct {
	Input    []byte // of the run: a JSON object
	Progress io.Writer
	Out      io.Writer // lines of the system
	Log      *slog.Logger
}

// Run starts everything, asks for a run, shows it, and gives its document when all has stopped again.
func Run(ctx context.Context, o Options) (run *event.Run, err error) {
	dir, err := os.MkdirTemp("", "switchback-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	name := filepath.Join(dir, "switchback.yaml")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		return nil, fmt.Errorf("write the demo's compose file: %w", err)
	}
	hooks, port, err := freePorts(ctx)
	if err != nil {
		return nil, err
	}
	service := "127.0.0.1:" + port
	err = up.Run(ctx, up.Options{
		Compose: compose.Options{Files: []string{name}, Set: []string{
			"listener.host=127.0.0.1",
			"listener.port=" + hooks,
			"components.painter.base_url=http://" + service,
			"components.framer.base_url=http://" + service,
		}},
		Embedded: embed.Options{Dir: filepath.Join(dir, "data"), SyncInterval: time.Minute, Logger: o.Log},
		Admin:    telemetry.AdminConfig{Addr: "127.0.0.1:0"},
		Before:   []supervise.Service{painter.New(painter.Config{Addr: service}, o.Log)},
		Out:      o.Out,
		Log:      o.Log,
		Work: func(ctx context.Context, b *bus.Bus) (err error) {
			run, err = ask(ctx, b, o)
			return err
		},
	})
	return run, err
}

func ask(ctx context.Context, b *bus.Bus, o Options) (*event.Run, error) {
	view := show.Follow(o.Progress)
	defer view.Close()
	_, run, err := client.New(b, "").Do(ctx, compose.DefaultID("workflow"), o.Input, view)
	return run, err
}

// freePorts finds two ports that are free now. Another process may take one before we do: the demo then ends with an
// error that names the port, and can be started again.
func freePorts(ctx context.Context) (hooks, service string, err error) {
	var found [2]string
	for i := range found {
		var l net.Listener
		if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return "", "", fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() //nolint:gocritic // only at the end, lest the same port be found twice
		if _, found[i], err = net.SplitHostPort(l.Addr().String()); err != nil {
			return "", "", fmt.Errorf("find a free port: %w", err)
		}
	}
	return found[0], found[1], nil
}
