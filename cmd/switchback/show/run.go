package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/switchbackhq/switchback/pkg/event"
)

// Run writes all that a person may want to know of one run.
func Run(w io.Writer, run *event.Run, now time.Time) error {
	var b strings.Builder
	field := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, Clean(text))
		}
	}
	field("Run", run.ID)
	field("Workflow", run.Workflow)
	field("Status", string(run.Status))
	field("Asked for", moment(run.CreatedAt, now))
	if run.Queued() {
		field("Waits for", Queued(run, now))
	} else if t := run.Turn; t != nil && !t.GrantedAt.IsZero() {
		field("Its turn", moment(t.GrantedAt, now))
	}
	if !run.EndedAt.IsZero() {
		field("Ended", moment(run.EndedAt, now))
		field("Took", Took(run.EndedAt.Sub(run.CreatedAt)))
	}
	if run.Error != nil {
		field("Error", run.Error.Message)
		field("Code", run.Error.Code)
		field("Job", run.Error.Job)
	}
	if rows := Rows(run, now); len(rows) > 0 {
		b.WriteString("\nJobs\n")
		width := 0
		for _, r := range rows {
			width = max(width, runewidth.StringWidth(Clean(r.Job)))
		}
		for _, r := range rows {
			b.WriteString("  " + r.Line(width, 0, -1, false) + "\n")
			for _, a := range run.Jobs[r.Job].Attempts {
				attempt(&b, a, run.Jobs[r.Job].Status.Ended(), now)
			}
		}
	}
	cut := section(&b, "Input", run.Input)
	cut = section(&b, "Output", run.Output) || cut
	if run.Error != nil {
		cut = section(&b, "Error's data", run.Error.Data) || cut
	}
	if cut {
		b.WriteString("\nNot all of it is shown: -o json has the rest.\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the run: %w", err)
	}
	return nil
}

// Queued says what a queued run waits for.
func Queued(run *event.Run, now time.Time) string {
	of := ""
	if len(run.Turn.Key) > 0 {
		of = " among those of " + string(run.Turn.Key)
	}
	return "its turn" + of + "; gives up " + Relative(run.Turn.Deadline, now)
}

func attempt(b *strings.Builder, a *event.Attempt, over bool, now time.Time) {
	for _, q := range a.Requests {
		answer := q.Error
		if answer == "" {
			answer = strconv.Itoa(q.Status)
		}
		fmt.Fprintf(b, "      %s %s: %s in %s\n", Clean(q.Method), Clean(q.URL), Clean(answer), Took(time.Duration(q.DurationMS)*time.Millisecond))
		for _, name := range slices.Sorted(maps.Keys(q.Addresses)) {
			fmt.Fprintf(b, "        told %s: %s\n", Clean(name), Clean(q.Addresses[name]))
		}
	}
	for _, wait := range append([]*event.WaitState{a.Wait}, a.More...) {
		if wait != nil {
			fmt.Fprintf(b, "      %s\n", waited(wait, over, now))
		}
	}
	if a.Error != nil {
		fmt.Fprintf(b, "      attempt %d: %s\n", a.Number, Clean(a.Error.Message))
	}
}

func waited(w *event.WaitState, over bool, now time.Time) string {
	by := w.ResumedBy
	switch {
	case by == nil && over:
		return "waited for " + Clean(w.ID) + ": it was not needed any more"
	case by == nil:
		return waiting(w, now)
	case by.Timeout:
		return fmt.Sprintf("waited %s for %s: the deadline passed", Took(by.At.Sub(w.Since)), Clean(w.ID))
	}
	from := "NATS"
	if by.Endpoint != "" {
		from = Clean(by.Endpoint)
	}
	return fmt.Sprintf("waited %s for %s: callback %d (%s) from %s", Took(by.At.Sub(w.Since)), Clean(w.ID), by.Seq, by.Outcome, from)
}

func moment(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(now.Location()).Format(time.DateTime) + " (" + Relative(t, now) + ")"
}

// What is shown of a line of a value, and of the value, in bytes: results of many megabytes are for programs.
const (
	lineShown  = 4 << 10
	valueShown = 64 << 10
)

// section writes a value, and tells whether it was too large to be written whole.
func section(b *strings.Builder, name string, raw json.RawMessage) (cut bool) {
	if len(raw) == 0 {
		return false
	}
	var text bytes.Buffer
	if json.Indent(&text, raw, "", "  ") != nil {
		text.Reset()
		text.Write(raw)
	}
	fmt.Fprintf(b, "\n%s\n", name)
	rest := readable(text.Bytes())
	for shown := 0; len(rest) > 0; {
		if shown >= valueShown {
			fmt.Fprintf(b, "… %d bytes more\n", len(rest))
			return true
		}
		line, after, _ := bytes.Cut(rest, []byte{'\n'})
		rest = after
		if n := len(line); n > lineShown {
			line, cut = bytes.ToValidUTF8(line[:lineShown], nil), true
			fmt.Fprintf(b, "%s… %d bytes more\n", line, n-len(line))
		} else {
			fmt.Fprintf(b, "%s\n", line)
		}
		shown += len(line) + 1
	}
	return cut
}
