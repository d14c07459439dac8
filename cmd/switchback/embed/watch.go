package embed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/switchbackhq/switchback/pkg/fault"
)

const (
	// watchEvery is how often the server is asked whether it can store, and, while it cannot, whether the disk takes something.
	watchEvery = 5 * time.Second
	// roomy is how much the disk must take before the server is started again, in bytes: less would be full again at once.
	roomy = 16 << 20
)

// Name is "nats".
func (s *Server) Name() string { return "nats" }

// Healthy tells why the server cannot store messages; nil: it can, as far as is known. That is looked at every five seconds.
func (s *Server) Healthy(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// Run watches over the server until ctx ends. A stream that could not write once, on a full disk for one, takes nothing more
// as long as its server runs, also when there is room again. So as soon as there is, the server is started again, on the same
// folder and port. What it had acknowledged is there.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.look(ctx)
		}
	}
}

func (s *Server) look(ctx context.Context) {
	if s.Healthy(ctx) == nil {
		err := storing(s.nats)
		if err == nil {
			return
		}
		err = fault.Wrap(err, fault.Unavailable, "NATS cannot store in "+s.o.Dir,
			"make room on that disk: then it is started again by itself. Until then callbacks are answered 503, and runs stand still")
		s.set(err)
		s.o.Logger.Error("not stored", slog.Any("error", err), slog.String("hint", fault.HintOf(err)))
	}
	if err := writable(s.o.Dir); err != nil {
		return
	}
	s.halt()
	ns, err := start(ctx, s.o)
	if err != nil {
		if ctx.Err() == nil { // else it is told to stop
			s.o.Logger.Error("cannot start NATS again", slog.Any("error", err))
		}
		return
	}
	s.mu.Lock()
	s.nats, s.why = ns, nil
	s.mu.Unlock()
	s.o.Logger.Warn("NATS was started again: its disk takes what it is given")
}

func (s *Server) set(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why = why
}

// halt shuts the server down, where it runs, and waits until it has.
func (s *Server) halt() {
	s.mu.Lock()
	ns := s.nats
	s.nats = nil
	s.mu.Unlock()
	if ns != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
	}
}

// storing asks the server whether all of its streams can write. Of its other troubles a new start would mend none.
func storing(ns *server.Server) error {
	request, err := http.NewRequest(http.MethodGet, "/healthz", nil) //nolint:noctx // it goes nowhere
	if err != nil {
		return err
	}
	answer := &answer{header: http.Header{}}
	ns.HandleHealthz(answer, request)
	var health server.HealthStatus
	if err := json.Unmarshal(answer.Bytes(), &health); err != nil {
		return fmt.Errorf("read the health of the NATS server: %w", err)
	}
	if strings.Contains(health.Error, "write error") || strings.Contains(health.Error, server.NewJSNotEnabledError().Description) {
		return errors.New(health.Error)
	}
	return nil
}

// answer keeps what a handler writes: the server offers its health as a handler only.
type answer struct {
	bytes.Buffer

	header http.Header
}

func (a *answer) Header() http.Header { return a.header }
func (*answer) WriteHeader(int)       {}

// writable tells whether the disk that a folder is on takes a little more.
func writable(dir string) (err error) {
	f, err := os.CreateTemp(dir, "room-")
	if err != nil {
		return fmt.Errorf("write to the data folder: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	for n := 0; n < roomy; n += 1 << 20 {
		if _, err := f.Write(make([]byte, 1<<20)); err != nil {
			return fmt.Errorf("write to the data folder: %w", err)
		}
	}
	return f.Sync()
}
