package compose

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

var errAmount = errors.New("not an amount")

// parseDuration reads milliseconds, or a number with a unit, several of them in a row: 1h30m.
func parseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if ms, err := strconv.ParseFloat(s, 64); err == nil {
		return toDuration(ms, time.Millisecond)
	}
	units := []struct {
		name string
		unit time.Duration
	}{
		{"ms", time.Millisecond},
		{"us", time.Microsecond},
		{"µs", time.Microsecond},
		{"ns", time.Nanosecond},
		{"s", time.Second},
		{"m", time.Minute},
		{"h", time.Hour},
		{"d", 24 * time.Hour},
		{"w", 7 * 24 * time.Hour},
	}
	if s == "" {
		return 0, errAmount
	}
	var total time.Duration
next:
	for s != "" {
		n := 0
		for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.') {
			n++
		}
		amount, err := strconv.ParseFloat(s[:n], 64)
		if err != nil {
			return 0, errAmount
		}
		s = strings.TrimLeft(s[n:], " ")
		for _, u := range units {
			if rest, ok := strings.CutPrefix(s, u.name); ok && (rest == "" || rest[0] == ' ' || rest[0] >= '0' && rest[0] <= '9') {
				d, err := toDuration(amount, u.unit)
				if err != nil || total > math.MaxInt64-d {
					return 0, errAmount
				}
				total, s = total+d, strings.TrimLeft(rest, " ")
				continue next
			}
		}
		return 0, errAmount
	}
	return total, nil
}

func toDuration(amount float64, unit time.Duration) (time.Duration, error) {
	d := amount * float64(unit)
	if math.IsNaN(d) || d < 0 || d >= math.MaxInt64 {
		return 0, errAmount
	}
	return time.Duration(math.Round(d)), nil
}

// parseSize reads bytes, or a number with a unit. KB is 1000, K and KiB are 1024.
func parseSize(s string) (int64, error) {
	s = strings.TrimSpace(s)
	n := 0
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.') {
		n++
	}
	amount, err := strconv.ParseFloat(s[:n], 64)
	if err != nil {
		return 0, errAmount
	}
	unit := 1.0
	switch strings.ToLower(strings.TrimSpace(s[n:])) {
	case "", "b":
	case "kb":
		unit = 1e3
	case "mb":
		unit = 1e6
	case "gb":
		unit = 1e9
	case "k", "kib":
		unit = 1 << 10
	case "m", "mib":
		unit = 1 << 20
	case "g", "gib":
		unit = 1 << 30
	default:
		return 0, errAmount
	}
	if amount*unit >= math.MaxInt64 {
		return 0, errAmount
	}
	return int64(amount * unit), nil
}

// parseRate reads an amount per unit of time: 10/s, 600/m, 100/10s.
func parseRate(s string) (*Rate, error) {
	count, per, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if err != nil || n < 1 || !ok {
		return nil, errAmount
	}
	per = strings.TrimSpace(per)
	words := map[string]time.Duration{
		"s": time.Second, "sec": time.Second, "second": time.Second, "m": time.Minute, "min": time.Minute,
		"minute": time.Minute, "h": time.Hour, "hour": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour,
	}
	unit := words[per]
	if unit == 0 {
		if unit, err = parseDuration(per); err != nil || unit == 0 || strings.Trim(per, "0123456789.") == "" {
			return nil, errAmount
		}
	}
	return &Rate{Count: n, Per: unit}, nil
}
