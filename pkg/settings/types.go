package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// mask stands for a secret wherever it is shown.
const mask = "***"

// Secret is a text that is shown as *** by fmt, JSON, YAML and slog. Reveal gives it.
type Secret string

// Reveal gives the text, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

// String gives ***, or nothing for no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// Format masks every verb, %#v and %x too.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText masks JSON, YAML and whatever else writes text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue masks slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Size is a number of bytes, written with or without a unit: 512, 64k, 4MiB, 1GB.
type Size int64

// units in bytes; a k alone is 1024, as in nats-server's own settings.
var units = map[string]int64{
	"": 1, "b": 1,
	"k": 1 << 10, "kib": 1 << 10, "kb": 1e3,
	"m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
	"g": 1 << 30, "gib": 1 << 30, "gb": 1e9,
	"t": 1 << 40, "tib": 1 << 40, "tb": 1e12,
}

// ParseSize reads a Size.
func ParseSize(text string) (Size, error) {
	digits := strings.TrimSpace(text)
	cut := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
	unit := ""
	if cut >= 0 {
		digits, unit = digits[:cut], strings.ToLower(strings.TrimSpace(digits[cut:]))
	}
	factor, ok := units[unit]
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && ok && n > math.MaxInt64/factor:
		return 0, errors.New("is too large")
	case err != nil || !ok:
		return 0, errors.New("is no size: write 512, 64KiB, 4MiB or 1GB")
	}
	return Size(n * factor), nil
}

// UnmarshalText reads a setting.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := ParseSize(string(text))
	if err != nil {
		return err
	}
	*s = n
	return nil
}

// MarshalText writes it as String does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String writes it in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if f := Size(units[strings.ToLower(u)]); s != 0 && s%f == 0 {
			return strconv.FormatInt(int64(s/f), 10) + u
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// day is the unit that time.ParseDuration lacks.
const day = 24 * time.Hour

// ParseDuration reads what time.ParseDuration does, and days: "250ms", "30s", "1h30m", "7d", "1d12h".
// A bare number has no unit and is refused, 0 excepted.
func ParseDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	var days time.Duration
	rest := text
	if number, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return 0, errDuration
		}
		days, rest = time.Duration(n)*day, after
		if rest == "" {
			return days, nil
		}
		if rest[0] == '-' || rest[0] == '+' {
			return 0, errDuration
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		if _, bare := strconv.ParseFloat(text, 64); bare == nil {
			return 0, fmt.Errorf("has no unit: write %ss or %sms", text, text)
		}
		return 0, errDuration
	}
	if d > math.MaxInt64-days {
		return 0, errors.New("is too long")
	}
	return days + d, nil
}

var errDuration = errors.New("is no duration: write 250ms, 30s, 5m, 2h or 7d")
