// Package show writes what a person reads: tables, a run's progress on a terminal or as plain lines, and JSON for programs.
package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

// JSON writes v indented by two spaces, with its digits and its <>& as they are.
func JSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	if err == nil {
		_, err = w.Write(readable(b.Bytes()))
	}
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// readable gives JSON with the <>& that encoding/json has escaped in a stored document. It changes the JSON given.
func readable(raw []byte) []byte {
	out := raw[:0]
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' || i+1 == len(raw) {
			out = append(out, raw[i])
			continue
		}
		switch {
		case bytes.HasPrefix(raw[i:], []byte(`\u0026`)):
			out = append(out, '&')
			i += 5
		case bytes.HasPrefix(raw[i:], []byte(`\u003c`)):
			out = append(out, '<')
			i += 5
		case bytes.HasPrefix(raw[i:], []byte(`\u003e`)):
			out = append(out, '>')
			i += 5
		default:
			out = append(out, raw[i], raw[i+1])
			i++
		}
	}
	return out
}

// Table writes rows in aligned columns under their heads. Cells are cleaned: what they hold may come from outside.
func Table(w io.Writer, heads []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	line := func(cells []string) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, Clean(c))
		}
		fmt.Fprintln(t)
	}
	line(heads)
	for _, r := range rows {
		line(r)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

// Clean makes foreign text fit for one line of a terminal: control characters, which could move
// the cursor or colour the rest of the screen, become blanks.
func Clean(s string) string {
	if !strings.ContainsFunc(s, unicode.IsControl) && utf8.ValidString(s) {
		return s
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�")))
}

// fit cuts s to so many columns of a terminal.
func fit(s string, width int) string {
	if width <= 0 || runewidth.StringWidth(s) <= width {
		return s
	}
	return runewidth.Truncate(s, width, "…")
}

// pad fills s with blanks to so many columns.
func pad(s string, width int) string {
	if n := width - runewidth.StringWidth(s); n > 0 {
		return s + strings.Repeat(" ", n)
	}
	return s
}

// Took writes how long something lasted: <1ms, 850ms, 1.2s, 3m12s, 2h05m, 3d4h.
func Took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// Relative writes a time as seen from now: 12s ago, in 4m59s, just now, in a moment; "-" for no time.
func Relative(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "-"
	case d < 0 && d > -time.Second:
		return "in a moment"
	case d >= 0 && d < time.Second:
		return "just now"
	case d < 0:
		return "in " + whole(-d)
	default:
		return whole(d) + " ago"
	}
}

// whole is Took without tenths.
func whole(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%ds", int(d.Seconds()))
	}
	return Took(d)
}

// clock writes a time of day in the reader's zone, with the date when it is another day's.
func clock(t, now time.Time) string {
	t = t.In(now.Location())
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format("2006-01-02 15:04")
}
