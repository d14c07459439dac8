package up

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/gateway"
	"github.com/switchbackhq/switchback/services/listener"
	"github.com/switchbackhq/switchback/services/runner"
)

// everything is what takes over a changed file; nil is what the file had no use for when all started.
type everything struct {
	listener *listener.Listener
	gateway  *gateway.Gateway
	runner   *runner.Runner
}

// reload gives a changed file to all. With an error they go on as before.
func (h *everything) reload(ctx context.Context, doc *compose.Document) (waiting []string, err error) {
	take := func() {}
	if h.listener != nil {
		if take, waiting, err = h.listener.Prepare(doc); err != nil {
			return nil, err
		}
	} else if here, _ := parted(doc); len(here) > 0 {
		waiting = append(waiting, "the listeners are served after a restart: there was none")
	}
	if _, inside := parted(doc); len(inside) > 0 {
		waiting = append(waiting, "the listeners in containers take the file over after a restart")
	}
	if h.runner == nil && len(doc.Workflows) > 0 {
		waiting = append(waiting, "the workflows can be run after a restart: there was none")
	}
	if h.gateway == nil && len(doc.Gateways) > 0 {
		waiting = append(waiting, "the gateways are opened after a restart: there was none")
	}
	if h.gateway != nil {
		if err := h.gateway.Reload(doc); err != nil {
			return nil, err
		}
	}
	if h.runner != nil {
		more, err := h.runner.Reload(ctx, doc)
		if err != nil {
			return nil, err
		}
		waiting = append(waiting, more...)
	}
	take()
	return waiting, nil
}

// settle is how long files must be left alone to be read: an editor writes them in several steps.
const settle = 100 * time.Millisecond

// watch reads the compose files again when one of them changes. SIGHUP is left alone: it is what a closed terminal sends, and
// ends all.
type watch struct {
	options compose.Options
	files   []string
	doc     *compose.Document
	reload  func(context.Context, *compose.Document) ([]string, error)
	out     *announcer
	log     *slog.Logger
	ready   chan struct{}
	failed  string // what was wrong with the file when it was read last
}

func newWatch(o compose.Options, doc *compose.Document, reload func(context.Context, *compose.Document) ([]string, error), out *announcer, log *slog.Logger) *watch {
	return &watch{options: o, doc: doc, reload: reload, out: out, log: log, ready: make(chan struct{})}
}

// Name names the service.
func (w *watch) Name() string { return "compose file" }

// Ready is closed when changes are seen.
func (w *watch) Ready() <-chan struct{} { return w.ready }

// Run watches until ctx ends.
func (w *watch) Run(ctx context.Context) error {
	events, errs, stop := w.events()
	defer stop()
	close(w.ready)
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			if w.ours(e.Name) {
				settled = time.After(settle)
			}
		case err := <-errs: // events may have been lost
			w.log.Warn("watching the compose file", slog.Any("error", err))
			settled = time.After(settle)
		case <-settled:
			settled = nil
			w.again(ctx)
		}
	}
}

// events gives the changes in the files' folders: an editor may replace a file by another one, which a watch of the file
// itself would not see.
func (w *watch) events() (<-chan fsnotify.Event, <-chan error, func()) {
	w.files = slices.Clone(w.options.Files)
	if len(w.files) == 0 {
		w.files, _ = compose.Find(w.options.Dir) // it was there a moment ago
	}
	watcher, err := fsnotify.NewWatcher()
	for i := 0; err == nil && i < len(w.files); i++ {
		w.files[i] = w.path(w.files[i])
		err = watcher.Add(filepath.Dir(w.files[i]))
		if target, lerr := filepath.EvalSymlinks(w.files[i]); err == nil && lerr == nil && target != w.files[i] {
			err = watcher.Add(filepath.Dir(target))
		}
	}
	if err != nil {
		w.log.Warn("the compose file cannot be watched: a change of it counts after a restart", slog.Any("error", err))
	}
	if watcher == nil {
		return nil, nil, func() {}
	}
	return watcher.Events, watcher.Errors, func() { _ = watcher.Close() }
}

func (w *watch) path(file string) string {
	if w.options.Dir != "" && !filepath.IsAbs(file) && len(w.options.Files) > 0 {
		file = filepath.Join(w.options.Dir, file)
	}
	if abs, err := filepath.Abs(file); err == nil {
		return abs
	}
	return file
}

// ours tells whether a change is one of the compose files, or of a link on the way to one.
func (w *watch) ours(name string) bool {
	for _, file := range w.files {
		if name == file || filepath.Base(name) == "..data" { // by which Kubernetes replaces mounted files
			return true
		}
		if target, err := filepath.EvalSymlinks(file); err == nil && name == target {
			return true
		}
	}
	return false
}

// again reads the files. What is wrong in them is told, and changes nothing.
func (w *watch) again(ctx context.Context) {
	next, err := load(w.options)
	if err == nil && next.Hash == w.doc.Hash {
		if w.failed != "" {
			w.out.say("File", "Read again: nothing has changed")
		}
		w.failed = ""
		return
	}
	var waiting []string
	if err == nil {
		waiting, err = w.reload(ctx, next)
	}
	if err != nil {
		if ctx.Err() == nil && w.failed != err.Error() {
			w.tell(err)
		}
		w.failed = err.Error()
		return
	}
	w.failed = ""
	changes := compose.Changes(w.doc, next)
	if len(changes) == 0 {
		changes = []string{"nothing but its order"}
	}
	for _, l := range next.Listeners {
		if l.Runtime == runtimeDocker && slices.ContainsFunc(changes, func(c string) bool { return strings.HasPrefix(c, "listener") }) {
			waiting = append(waiting, "listener "+l.ID+" runs in a container, and takes what concerns it after a restart")
		}
	}
	w.doc = next
	w.out.say("File", "Read again: %s", strings.Join(changes, ", "))
	for _, line := range waiting {
		w.out.say("File", "Restart: %s", line)
	}
}

func (w *watch) tell(err error) {
	text := err.Error()
	if invalid, ok := errors.AsType[*compose.Invalid](err); ok {
		text = invalid.Error()
	} else if hint := fault.HintOf(err); hint != "" {
		text += "\n" + hint
	}
	w.out.say("File", "Not taken over, all goes on as before:\n%s", text)
}
