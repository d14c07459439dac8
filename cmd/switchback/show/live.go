package show

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/cwriter"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/switchbackhq/switchback/pkg/event"
)

// Follower shows a run while it goes on. Close leaves its last state on the screen.
type Follower interface {
	Update(run *event.Run)
	Say(text string)
	Close()
}

// Follow gives a live view where w is a terminal, else plain lines.
func Follow(w io.Writer) Follower {
	if f, ok := w.(*os.File); ok && terminal(f) {
		return newLive(f)
	}
	return &plainFollower{w: w}
}

// terminal tells whether f is one that can move its cursor, and knows how wide it is.
func terminal(f *os.File) bool {
	if !isatty.IsTerminal(f.Fd()) || os.Getenv("TERM") == "dumb" {
		return false
	}
	width, _, err := cwriter.GetSize(int(f.Fd()))
	return err == nil && width > 0
}

// Quiet is a Follower that shows nothing.
type Quiet struct{}

// Update does nothing.
func (Quiet) Update(*event.Run) {}

// Say does nothing.
func (Quiet) Say(string) {}

// Close does nothing.
func (Quiet) Close() {}

type plainFollower struct {
	w     io.Writer
	plain plain
}

func (p *plainFollower) Update(run *event.Run) {
	for _, line := range p.plain.lines(run, time.Now()) {
		p.Say(line)
	}
}

func (p *plainFollower) Say(text string) { fmt.Fprintln(p.w, text) }

func (p *plainFollower) Close() {}

// live draws a line for each job that has begun, ten times a second: mpb moves the cursor, Row.Line writes the line.
type live struct {
	progress *mpb.Progress
	color    bool

	mu    sync.Mutex
	run   *event.Run
	end   time.Time // when the run ended: the clocks stop there
	names int       // columns of the longest job id
	bars  map[string]bool
}

const refresh = 100 * time.Millisecond

func newLive(w io.Writer, options ...mpb.ContainerOption) *live {
	return &live{
		progress: mpb.New(append(options, mpb.WithOutput(w), mpb.WithRefreshRate(refresh))...),
		color:    os.Getenv("NO_COLOR") == "",
		bars:     map[string]bool{},
	}
}

func (l *live) Update(run *event.Run) {
	var begun []string
	l.mu.Lock()
	l.run = run
	if run.Status.Ended() {
		l.end = run.EndedAt
	}
	for _, r := range Rows(run, time.Now()) {
		l.names = max(l.names, runewidth.StringWidth(Clean(r.Job)))
		if !l.bars[r.Job] {
			l.bars[r.Job] = true
			begun = append(begun, r.Job)
		}
	}
	l.mu.Unlock()
	for _, id := range begun {
		// After Close there is nothing to add to: Add's only error.
		_, _ = l.progress.Add(0, mpb.BarFillerFunc(func(w io.Writer, stat decor.Statistics) error {
			_, err := io.WriteString(w, l.line(id, stat.AvailableWidth))
			return err
		}), mpb.BarFillerTrim())
	}
}

func (l *live) line(id string, width int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !l.end.IsZero() {
		now = l.end.In(now.Location())
	}
	frame := int(time.Now().UnixMilli() / refresh.Milliseconds())
	j, ok := l.run.Jobs[id]
	if !ok {
		return ""
	}
	return row(id, j, now).Line(l.names, width, frame, l.color)
}

func (l *live) Say(text string) { fmt.Fprintln(l.progress, text) }

// Close draws once more, with the last state, and ends mpb's goroutines.
func (l *live) Close() { l.progress.Shutdown() }
