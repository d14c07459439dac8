package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Keeper keeps a container running for as long as it is told to.
type Keeper struct {
	Engine *Engine
	Spec   *Spec // its writers are the keeper's
	Grace  time.Duration
	Log    *slog.Logger
	Line   func(line string)                 // told of what the container says on its standard output; nil: nobody is
	Said   func(message string)              // and of each message in its log; nil: nobody is
	Runs   func(adopted bool)                // told each time that it runs; nil: nobody is
	Broken func(err error, in time.Duration) // told each time that it does not, and when it is tried again; nil: nobody is
}

// Pauses between a container's end and its next start.
const (
	firstPause   = time.Second
	longestPause = time.Minute
	healthyAfter = time.Minute
)

// Run keeps the container until ctx ends, and removes it.
func (k *Keeper) Run(ctx context.Context) error {
	for failures := 0; ; failures++ {
		began := time.Now()
		err := k.once(ctx)
		if ctx.Err() != nil {
			return err
		}
		if time.Since(began) > healthyAfter {
			failures = 0
		}
		pause := min(firstPause<<min(failures, 16), longestPause)
		pause = pause/2 + rand.N(pause/2) //nolint:gosec // a pause is no secret
		k.Log.Error("a container is not running", slog.String("container", k.Spec.Name), slog.Any("error", err),
			slog.String("hint", fault.HintOf(err)), slog.Duration("again_in", pause.Round(time.Millisecond)))
		if k.Broken != nil {
			k.Broken(err, pause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// once has the container run until it or ctx ends.
func (k *Keeper) once(ctx context.Context) error {
	last := &lastLine{}
	out := newLines(func(line string) {
		if k.Line != nil {
			k.Line(line)
		}
	})
	errs := newLines(func(line string) {
		message := relog(ctx, k.Log, line)
		last.set(message)
		if k.Said != nil {
			k.Said(message)
		}
	})
	defer func() {
		out.flush()
		errs.flush()
	}()
	spec := *k.Spec
	spec.Stdout, spec.Stderr = out, errs
	c, err := k.Engine.Start(ctx, &spec)
	if err != nil {
		return err
	}
	if k.Runs != nil {
		k.Runs(c.Adopted)
	}
	select {
	case <-ctx.Done():
		return c.Stop(context.WithoutCancel(ctx), k.Grace)
	case <-c.Ended():
	}
	code, err := c.Result()
	if err == nil {
		text := fmt.Sprintf("the container %s has ended with code %d", spec.Name, code)
		if said := last.get(); said != "" {
			text += ": " + said
		}
		err = fault.New(fault.Unavailable, text, "what it has said is in the log")
	}
	return errors.Join(err, c.Stop(context.WithoutCancel(ctx), 0))
}

// relog says what a service in a container has said to its log, as our own log does, and gives the message. Its lines
// are JSON; what is none is said as it stands.
func relog(ctx context.Context, log *slog.Logger, line string) string {
	var entry map[string]any
	if json.Unmarshal([]byte(line), &entry) != nil {
		log.Warn(line) //nolint:sloglint // it is what somebody else says
		return line
	}
	var level slog.Level
	word, _ := entry["level"].(string)
	if level.UnmarshalText([]byte(word)) != nil {
		level = slog.LevelInfo
	}
	message, _ := entry["msg"].(string)
	attrs := make([]slog.Attr, 0, len(entry))
	for _, name := range slices.Sorted(maps.Keys(entry)) {
		if name != "level" && name != "msg" && name != "time" && name != "service" {
			attrs = append(attrs, slog.Any(name, entry[name]))
		}
	}
	log.LogAttrs(ctx, level, message, attrs...) //nolint:sloglint // it is what somebody else says
	if text, ok := entry["error"].(string); ok {
		message += ": " + text
	}
	return message
}

type lastLine struct {
	mu   sync.Mutex
	text string
}

func (l *lastLine) set(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = s
}

func (l *lastLine) get() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}

// maxLine bounds a line; what is longer is cut into several.
const maxLine = 64 << 10

// lines is a writer that gives whole lines.
type lines struct {
	each func(string)
	b    []byte
}

func newLines(each func(string)) *lines { return &lines{each: each} }

func (l *lines) Write(p []byte) (int, error) {
	l.b = append(l.b, p...)
	for {
		end := bytes.IndexByte(l.b, '\n')
		if end < 0 && len(l.b) > maxLine {
			end = maxLine
		}
		if end < 0 {
			return len(p), nil
		}
		l.say(string(l.b[:end]))
		l.b = bytes.TrimPrefix(l.b[end:], []byte("\n"))
	}
}

func (l *lines) say(line string) {
	if line = strings.TrimSpace(line); line != "" {
		l.each(line)
	}
}

func (l *lines) flush() {
	l.say(string(l.b))
	l.b = nil
}

var _ io.Writer = (*lines)(nil)
