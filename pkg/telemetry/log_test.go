package telemetry_test

import (
	"bufio"
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/settings"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

func TestNewLoggerFormats(t *testing.T) {
	for format, want := range map[telemetry.Format]string{
		telemetry.JSON:   `"msg":"hello","run":"r-1"}`,
		telemetry.Auto:   `"msg":"hello","run":"r-1"}`, // a buffer is no terminal
		"":               `"msg":"hello","run":"r-1"}`,
		telemetry.Text:   "level=INFO msg=hello run=r-1",
		telemetry.Pretty: "INF hello run=r-1",
	} {
		var out bytes.Buffer
		log := telemetry.NewLogger(&out, slog.LevelInfo, format)
		log.Debug("not shown")
		log.Info("hello", slog.String("run", "r-1"))
		if got := strings.TrimSpace(out.String()); !strings.HasSuffix(got, want) || strings.Contains(got, "\n") {
			t.Errorf("format %q writes %q, want one line that ends in %q", format, got, want)
		}
	}
}

func TestNewLoggerFollowsItsLevel(t *testing.T) {
	var out bytes.Buffer
	level := &slog.LevelVar{}
	log := telemetry.NewLogger(&out, level, telemetry.Text)
	log.Debug("one")
	level.Set(slog.LevelDebug)
	log.Debug("two")
	if got := out.String(); strings.Contains(got, "one") || !strings.Contains(got, "two") {
		t.Errorf("log = %q, want two alone", got)
	}
}

func TestNewLoggerIsPrettyOnATerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0) // a terminal echoes what it is told
	if err != nil {
		t.Skipf("this system gives no pseudo terminal: %v", err)
	}
	defer terminal.Close()
	telemetry.NewLogger(terminal, slog.LevelInfo, telemetry.Auto).Info("hello", slog.String("run", "r-1"))
	line, err := bufio.NewReader(terminal).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(line, "INF") || !strings.Contains(line, "[0m") || strings.Contains(line, "{") {
		t.Errorf("on a terminal: %q, want a coloured line", line)
	}
}

func TestFormatIsASetting(t *testing.T) {
	var c struct {
		Format telemetry.Format `koanf:"format"`
		Level  slog.Level       `koanf:"level"`
	}
	load := func(format string) error {
		return settings.Load(&c, settings.Sources{Environ: []string{}, Flags: map[string]any{"format": format, "level": "debug"}})
	}
	if err := load("json"); err != nil || c.Format != telemetry.JSON || c.Level != slog.LevelDebug {
		t.Errorf("settings = %+v, %v", c, err)
	}
	want := `flag for format: format = "xml" is no log format: write auto, pretty, text or json`
	if err := load("xml"); err == nil || err.Error() != want {
		t.Errorf("Load = %v, want %s", err, want)
	}
}
