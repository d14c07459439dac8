package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.Environment)
	if r.Quick {
		b.WriteString("A quick run: it shows that the bench works, and its numbers say nothing.\n")
	}
	for _, bench := range r.Benches {
		fmt.Fprintf(&b, "\n%s: %s\n", bench.Name, bench.About)
		for _, t := range bench.Tables {
			t.write(&b)
		}
		writeAims(&b, bench.Aims)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// write shows metrics below each other and subjects beside each other; each cell is the median and, of several rounds,
// the least and the most.
func (t *Table) write(b *strings.Builder) {
	var names []string
	units := map[string]string{}
	for _, r := range t.Rows {
		for _, m := range r.Metrics {
			if !slices.Contains(names, m.Name) {
				names = append(names, m.Name)
			}
			units[m.Name] = m.Unit
		}
	}
	grid := t.heads()
	rule := len(grid)
	for _, n := range names {
		label := n
		if u := units[n]; u != "" {
			label += ", " + u
		}
		line := make([]string, 0, 1+len(t.Rows))
		line = append(line, label)
		for _, r := range t.Rows {
			line = append(line, r.Metric(n).cell())
		}
		grid = append(grid, line)
	}
	b.WriteByte('\n')
	writeGrid(b, grid, rule)
}

// heads are the lines of the table's head: subjects are broken at their commas.
func (t *Table) heads() [][]string {
	heads := [][]string{{t.Title}}
	for i, r := range t.Rows {
		parts := strings.Split(r.Subject, ", ")
		if r.Ceiling {
			parts = append(parts, "(ceiling)")
		}
		for n, part := range parts {
			if n == len(heads) {
				heads = append(heads, []string{""})
			}
			for len(heads[n]) < i+1 { // the head before was shorter
				heads[n] = append(heads[n], "")
			}
			heads[n] = append(heads[n], part)
		}
	}
	return heads
}

func (m *Metric) cell() string {
	switch {
	case m == nil:
		return "-"
	case len(m.Rounds) == 1:
		return number(m.Median)
	default:
		return fmt.Sprintf("%s (%s..%s)", number(m.Median), number(m.Min), number(m.Max))
	}
}

// number writes three digits that matter: 31.2k, 488, 0.78.
func number(x float64) string {
	switch size := math.Abs(x); {
	case size >= 999_500:
		return number(x/1e6) + "M"
	case size >= 999.5:
		return number(x/1e3) + "k"
	case size >= 99.95:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case size >= 9.995:
		return strconv.FormatFloat(x, 'f', 1, 64)
	default:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
}

func writeAims(b *strings.Builder, aims []Aim) {
	if len(aims) == 0 {
		return
	}
	grid := [][]string{{"aim (on two cores)", "wanted", "is", ""}}
	for _, a := range aims {
		wanted := "at least " + number(a.AtLeast)
		if a.AtMost != 0 {
			wanted = "at most " + number(a.AtMost)
		}
		verdict := "missed"
		if a.Reached {
			verdict = "reached"
		}
		grid = append(grid, []string{a.What, strings.TrimSpace(wanted + " " + a.Unit), number(a.Is), verdict})
	}
	b.WriteByte('\n')
	writeGrid(b, grid, 1)
}

// writeGrid aligns, the first column to the left, the others to the right, and rules a line below the head.
func writeGrid(b *strings.Builder, grid [][]string, head int) {
	var widths []int
	for _, line := range grid {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, line := range grid {
		if n == head {
			width := 3 * (len(widths) - 1)
			for _, w := range widths {
				width += w
			}
			b.WriteString("  " + strings.Repeat("-", width) + "\n")
		}
		cells := make([]string, len(line))
		for i, cell := range line {
			gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				cells[i] = "  " + cell + gap
			} else {
				cells[i] = gap + cell
			}
		}
		b.WriteString(strings.TrimRight(strings.Join(cells, "   "), " ") + "\n")
	}
}
