package show

import (
	"fmt"
	"math"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
)

// progressStep is how many points a job's progress must gain before a plain line says so, lest a log fill with them.
const progressStep = 10

// plain tells a run's way in lines, for where there is no terminal: a line for each thing that changed.
type plain struct {
	seen map[string]seen
}

type seen struct {
	status   event.Status
	attempts int
	round    int
	wait     string
	step     float64
	message  string
	retryAt  time.Time
}

// lines gives what is new in a run document since the last one.
func (p *plain) lines(run *event.Run, now time.Time) []string {
	if p.seen == nil {
		p.seen = map[string]seen{}
	}
	var lines []string //nolint:prealloc // most of the time nothing is new
	for _, r := range Rows(run, now) {
		lines = append(lines, p.job(r, run.Jobs, now)...)
	}
	return lines
}

func (p *plain) job(r Row, jobs map[string]*event.Job, now time.Time) []string {
	j := jobs[r.Job]
	was := p.seen[r.Job]
	is := seen{status: j.Status, attempts: len(j.Attempts), round: j.Round, step: was.step, message: was.message, retryAt: j.RetryAt}
	a := last(j)
	if a != nil && a.Wait != nil {
		is.wait = a.Wait.ID
	}
	var lines []string
	say := func(format string, args ...any) {
		lines = append(lines, Clean(r.Job)+": "+fmt.Sprintf(format, args...))
	}

	if is.attempts > was.attempts {
		is.step, is.message = 0, ""
		switch {
		case was.attempts == 0:
			say("started")
		case is.round > was.round:
			say("started again")
		default:
			say("attempt %d started", a.Number)
		}
	}
	switch {
	case j.Status.Ended():
		if was.status != j.Status {
			say("%s", ended(r, j))
		}
	case !j.RetryAt.IsZero() && !j.RetryAt.Equal(was.retryAt):
		say("%s", r.Text)
	case j.Status == event.StatusWaiting && (was.status != event.StatusWaiting || was.wait != is.wait):
		say("%s", sleeping(a, now))
	}
	if !j.Status.Ended() {
		percent, known, message := readProgress(j.Progress)
		step := math.Floor(percent/progressStep) * progressStep
		if known && step > is.step || message != is.message && message != "" {
			say("%s", progress(percent, known, message))
		}
		is.step, is.message = math.Max(is.step, step), message
	}
	p.seen[r.Job] = is
	return lines
}

func ended(r Row, j *event.Job) string {
	if j.Status == event.StatusCompleted {
		return "completed in " + Took(r.Took)
	}
	return r.Text
}

func progress(percent float64, known bool, message string) string {
	switch {
	case !known:
		return message
	case message == "":
		return fmt.Sprintf("%.0f%%", math.Floor(percent))
	default:
		return fmt.Sprintf("%.0f%% %s", math.Floor(percent), message)
	}
}
