package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/switchbackhq/switchback/pkg/event"
)

// Row is one job as a person sees it.
type Row struct {
	Job     string
	Status  event.Status
	Percent float64 // 0 to 100
	Known   bool    // Percent means something
	Text    string  // what it does, waits for, or died of
	Took    time.Duration
}

// Rows gives the jobs of a run that have begun, in the order in which they began.
func Rows(run *event.Run, now time.Time) []Row {
	ids := make([]string, 0, len(run.Jobs))
	for id, j := range run.Jobs {
		if len(j.Attempts) > 0 || j.Status != event.StatusPending && j.Status != event.StatusSkipped {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		if c := began(run.Jobs[a]).Compare(began(run.Jobs[b])); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	rows := make([]Row, len(ids))
	for i, id := range ids {
		rows[i] = row(id, run.Jobs[id], now)
	}
	return rows
}

func row(id string, j *event.Job, now time.Time) Row {
	r := Row{Job: id, Status: j.Status}
	a := last(j)
	if a != nil {
		end := now
		if !a.EndedAt.IsZero() {
			end = a.EndedAt
		}
		// A job that was routed back to is as old as its present round.
		r.Took = end.Sub(j.Attempts[min(j.First, len(j.Attempts)-1)].StartedAt)
	}
	switch j.Status {
	case event.StatusWaiting:
		r.Text = sleeping(a, now)
	case event.StatusFailed, event.StatusCancelled:
		r.Text = failure(j)
	case event.StatusRunning:
		r.Text = "running"
		if a != nil && a.Number > 1 {
			r.Text = fmt.Sprintf("running, attempt %d", a.Number)
		}
	default:
		r.Text = string(j.Status)
	}
	if !j.RetryAt.IsZero() && !j.Status.Ended() {
		r.Text = "trying again " + Relative(j.RetryAt, now)
		if a != nil && a.Error != nil {
			r.Text += ": " + Clean(a.Error.Message)
		}
	}
	if !j.Status.Ended() {
		var message string
		if r.Percent, r.Known, message = readProgress(j.Progress); message != "" {
			r.Text = message + ", " + r.Text
		}
	}
	return r
}

// sleeping says what a job sleeps for: a callback, or several; another run; a time.
func sleeping(a *event.Attempt, now time.Time) string {
	switch {
	case a == nil:
		return "waiting"
	case a.Wait != nil && len(a.More) > 0:
		return fmt.Sprintf("%s and %d more", waiting(a.Wait, now), len(a.More))
	case a.Wait != nil:
		return waiting(a.Wait, now)
	case a.SubRun != "":
		return "waiting for run " + Clean(a.SubRun)
	case !a.Due.IsZero() && a.Polls > 0:
		return polled(a.Polls-1) + Relative(a.Due, now)
	case !a.Due.IsZero():
		return "waiting until " + clock(a.Due, now)
	default:
		return "waiting"
	}
}

// polled says how often the service was asked how far it is.
func polled(times int) string {
	switch times {
	case 0:
		return "to be polled "
	case 1:
		return "polled once, again "
	default:
		return fmt.Sprintf("polled %d times, again ", times)
	}
}

// waiting has the id last: it may be long, and a narrow terminal cuts the end off.
func waiting(w *event.WaitState, now time.Time) string {
	text := "waiting"
	if !w.Deadline.IsZero() {
		text += " until " + clock(w.Deadline, now)
	}
	return text + " for " + Clean(w.ID)
}

func failure(j *event.Job) string {
	text := string(j.Status)
	if n := len(j.Attempts) - j.First; n > 1 {
		text += fmt.Sprintf(" after %d attempts", n)
	}
	if j.Error != nil && j.Error.Message != "" {
		text += ": " + Clean(j.Error.Message)
	}
	return text
}

// began is when a job began for the first time.
func began(j *event.Job) time.Time {
	if len(j.Attempts) == 0 {
		return time.Time{}
	}
	return j.Attempts[0].StartedAt
}

func last(j *event.Job) *event.Attempt {
	if len(j.Attempts) == 0 {
		return nil
	}
	return j.Attempts[len(j.Attempts)-1]
}

// readProgress reads what a progress callback left: a number from 0 to 100, or an object with percent and message.
// What is neither says that there is progress and not how much.
func readProgress(raw json.RawMessage) (percent float64, known bool, message string) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return 0, false, ""
	}
	number := func(raw json.RawMessage) {
		if json.Unmarshal(raw, &percent) == nil && string(bytes.TrimSpace(raw)) != "null" {
			percent, known = math.Min(100, math.Max(0, percent)), true
		}
	}
	switch raw[0] {
	case '{':
		var o struct {
			Percent json.RawMessage `json:"percent"`
			Message any             `json:"message"`
		}
		if json.Unmarshal(raw, &o) != nil {
			return 0, false, ""
		}
		if len(o.Percent) > 0 {
			number(o.Percent)
		}
		message, _ = o.Message.(string)
	case '"':
		_ = json.Unmarshal(raw, &message)
	default:
		number(raw)
	}
	return percent, known, Clean(message)
}

// The parts of a live line. The bar is narrow so that the text beside it has room in 80 columns.
const barWidth = 20

var frames = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// Line writes a row for a terminal: mark, name, bar, text and time, no wider than width. Frame turns the spinner;
// a negative one is for text that stands still, and a width of zero for text that may be as long as it is.
func (r Row) Line(nameWidth, width, frame int, color bool) string {
	head := r.mark(frame) + " "
	name := pad(Clean(r.Job), nameWidth) + "  "
	took := "  " + Took(r.Took)
	text := r.Text
	if r.Known {
		text = bar(r.Percent) + "  " + text
	}
	// The mark is one column wide, whatever colour codes surround it.
	text = name + text
	if width > 0 {
		text = fit(text, max(1, width-2-runewidth.StringWidth(took)))
	}
	if color {
		head = r.color() + head + "\x1b[0m"
		took = "\x1b[2m" + took + "\x1b[0m"
	}
	return head + text + took
}

// bar draws a percentage: ━━━━━───────────────  25%.
func bar(percent float64) string {
	full := int(percent / 100 * barWidth)
	return strings.Repeat("━", full) + strings.Repeat("─", barWidth-full) + fmt.Sprintf(" %3.0f%%", math.Floor(percent))
}

func (r Row) mark(frame int) string {
	switch r.Status {
	case event.StatusCompleted:
		return "✓"
	case event.StatusFailed, event.StatusRejected:
		return "✗"
	case event.StatusCancelled, event.StatusSkipped:
		return "-"
	default:
		if frame < 0 {
			return "•"
		}
		return frames[frame%len(frames)]
	}
}

func (r Row) color() string {
	switch r.Status {
	case event.StatusCompleted:
		return "\x1b[32m"
	case event.StatusFailed, event.StatusRejected:
		return "\x1b[31m"
	case event.StatusWaiting:
		return "\x1b[33m"
	default:
		return "\x1b[36m"
	}
}
