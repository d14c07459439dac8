package settings_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/switchbackhq/switchback/pkg/settings"
)

func TestSecretIsNeverShown(t *testing.T) {
	const text = "open sesame"
	s := settings.Secret(text)
	holder := struct {
		Token  settings.Secret
		Ptr    *settings.Secret
		Tokens []settings.Secret
	}{s, &s, []settings.Secret{s}}

	var shown []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, holder))
	}
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", slog.Any("token", s), slog.Any("holder", holder), slog.Any("ptr", &s))
	}
	shown = append(shown, string(asJSON), string(asYAML), log.String(), fmt.Sprint(s), s.String(), fmt.Sprint(slog.AnyValue(s).Resolve()))
	for _, out := range shown {
		if strings.Contains(out, "sesame") || strings.Contains(strings.ToLower(out), fmt.Sprintf("%x", text)) {
			t.Errorf("shown: %s", out)
		}
	}
	if got := fmt.Sprint(s); got != "***" {
		t.Errorf("Sprint = %q, want ***", got)
	}
	if s.Reveal() != text {
		t.Errorf("Reveal = %q", s.Reveal())
	}
	if got := settings.Secret("").String(); got != "" {
		t.Errorf("no secret is shown as %q", got)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]settings.Size{
		"0": 0, "512": 512, "512b": 512, "64k": 64 << 10, "64KiB": 64 << 10, "64kB": 64e3,
		"4 MiB": 4 << 20, "4m": 4 << 20, "2MB": 2e6, "1g": 1 << 30, "1GiB": 1 << 30, "1GB": 1e9, "1TiB": 1 << 40, "3TB": 3e12,
		" 7 ": 7, "8191PiB": -1, "": -1, "k": -1, "-1": -1, "1.5k": -1, "4 hats": -1, "9999999999999999999": -1, "9223372036854775807k": -1,
	} {
		got, err := settings.ParseSize(text)
		if want < 0 {
			if err == nil {
				t.Errorf("ParseSize(%q) = %d, want an error", text, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "250ms": 250 * time.Millisecond, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, " 2h ": 2 * time.Hour,
		"7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "0d": 0,
		"": -1, "d": -1, "5": -1, "5000": -1, "1.5": -1, "-1d": -1, "1d-2h": -1, "1d2": -1, "1d1d": -1, "soon": -1, "99999d": -1, "65535d2562047h": -1, "1.5d": -1,
	} {
		got, err := settings.ParseDuration(text)
		if want < 0 {
			if err == nil {
				t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"", "0", "4MiB", "64k", "1 GB", "9223372036854775807", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := settings.ParseSize(text)
		if err != nil {
			return
		}
		if n < 0 {
			t.Fatalf("ParseSize(%q) = %d", text, n)
		}
		if again, err := settings.ParseSize(n.String()); err != nil || again != n {
			t.Fatalf("%q -> %d -> %q -> %d, %v", text, n, n.String(), again, err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"", "0", "5s", "7d", "1d12h", "-3h", "d", "65535d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := settings.ParseDuration(text)
		if err != nil {
			return
		}
		if again, err := settings.ParseDuration(d.String()); err != nil || again != d {
			t.Fatalf("%q -> %v -> %v, %v", text, d, again, err)
		}
	})
}
