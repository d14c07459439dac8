// Package telemetry makes a service's logger and metrics registry, and serves its health, readiness and metrics over HTTP.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
)

// Format is the form of log lines.
type Format string

// The forms: Auto is Pretty on a terminal and JSON elsewhere.
const (
	Auto   Format = "auto"
	Pretty Format = "pretty"
	Text   Format = "text"
	JSON   Format = "json"
)

// UnmarshalText reads a setting.
func (f *Format) UnmarshalText(text []byte) error {
	switch v := Format(text); v {
	case Auto, Pretty, Text, JSON:
		*f = v
		return nil
	default:
		return fmt.Errorf("is no log format: write %s, %s, %s or %s", Auto, Pretty, Text, JSON)
	}
}

// NewLogger makes a logger that writes records of at least level to w; "" is Auto.
func NewLogger(w io.Writer, level slog.Leveler, format Format) *slog.Logger {
	if format == Auto || format == "" {
		format = JSON
		if isTerminal(w) {
			format = Pretty
		}
	}
	options := &slog.HandlerOptions{Level: level}
	switch format {
	case Pretty:
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level: level, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w) || os.Getenv("NO_COLOR") != "",
		}))
	case Text:
		return slog.New(slog.NewTextHandler(w, options))
	default:
		return slog.New(slog.NewJSONHandler(w, options))
	}
}

// isTerminal tells whether a person watches w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && isatty.IsTerminal(f.Fd())
}
