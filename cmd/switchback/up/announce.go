package up

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/services/listener"
)

// announcer writes lines such as "[Listener] Ready on http://127.0.0.1:8090".
type announcer struct {
	mu sync.Mutex
	w  io.Writer
}

func (a *announcer) say(who, format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintf(a.w, "["+who+"] "+format+"\n", args...)
}

// service says lines when it is started, which is when the service before it is ready. They are written in one piece,
// so that who reads the first has the others too.
func (a *announcer) service(who string, lines func() []string) supervise.Service {
	return supervise.Func(strings.ToLower(who)+" lines", func(ctx context.Context) error {
		a.say(who, "%s", strings.Join(lines(), "\n["+who+"] "))
		<-ctx.Done()
		return nil
	})
}

// listenerLines say where requests are taken, and at which URLs the outside reaches them.
func listenerLines(doc *compose.Document, addresses []listener.Address) []string {
	var lines []string
	for _, a := range addresses {
		l := doc.Listener(a.Listener)
		public := l.PublicURL
		if public == "" {
			public = strings.TrimSuffix(a.URL, l.BasePath)
		}
		lines = append(lines, "Ready on "+a.URL)
		for _, c := range l.Callbacks {
			lines = append(lines, c.Method+" "+public+c.Path)
		}
		for _, t := range l.Triggers {
			lines = append(lines, t.Method+" "+public+t.Path)
		}
	}
	return lines
}

// runnerLines say what can be run.
func runnerLines(doc *compose.Document) []string {
	if len(doc.Workflows) == 1 {
		return []string{"Ready: ask for a run with `switchback run`"}
	}
	lines := []string{"Ready: ask for a run with `switchback run WORKFLOW`"}
	for _, w := range doc.Workflows {
		line := "Workflow " + w.ID
		if w.Title != "" {
			line += ": " + w.Title
		}
		lines = append(lines, line)
	}
	return lines
}
