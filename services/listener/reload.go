package listener

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/pkg/compose"
)

// Reload takes over the endpoints of a changed compose file. A file that cannot be served changes nothing. It tells what
// waits for a restart: the sockets stay as they are.
func (l *Listener) Reload(_ context.Context, doc *compose.Document) (waiting []string, err error) {
	take, waiting, err := l.Prepare(doc)
	if err != nil {
		return nil, err
	}
	take()
	return waiting, nil
}

// Prepare is Reload in two steps: nothing has changed until take is called.
func (l *Listener) Prepare(doc *compose.Document) (take func(), waiting []string, err error) {
	type change struct {
		s    *server
		next *routes
	}
	var changes []change
	var errs []error
	for _, s := range l.servers {
		conf := find(doc, s.conf.ID)
		if conf == nil {
			waiting = append(waiting, "listener "+s.conf.ID+" has gone from the file, and serves until a restart")
			continue
		}
		if fields := changed(s.conf, conf); len(fields) > 0 {
			waiting = append(waiting, "listener "+s.conf.ID+" takes its new "+strings.Join(fields, ", ")+" after a restart")
		}
		next, err := newRoutes(conf, l.deps.Getenv, l.metrics, l.deps.Fetch)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		changes = append(changes, change{s, next})
	}
	for _, conf := range doc.Listeners {
		wanted := len(l.config.Listeners) == 0 || slices.Contains(l.config.Listeners, conf.ID)
		if wanted && !slices.ContainsFunc(l.servers, func(s *server) bool { return s.conf.ID == conf.ID }) {
			waiting = append(waiting, "listener "+conf.ID+" is new, and is served after a restart")
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	return func() {
		for _, c := range changes {
			c.s.routes.Store(c.next)
			l.noteVerify(c.next)
		}
	}, waiting, nil
}

func (l *Listener) noteVerify(r *routes) {
	if r.verifies {
		l.once.Do(func() { close(l.verifies) })
	}
}

func find(doc *compose.Document, id string) *compose.Listener {
	for _, l := range doc.Listeners {
		if l.ID == id {
			return l
		}
	}
	return nil
}

// changed names the fields of a listener that differ, its endpoints apart.
func changed(was, is *compose.Listener) (fields []string) {
	a, b := reflect.ValueOf(*was), reflect.ValueOf(*is)
	for i := range a.NumField() {
		switch name := a.Type().Field(i).Name; name {
		case "Pos", "Callbacks", "Triggers":
		default:
			if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
				fields = append(fields, words(name))
			}
		}
	}
	return fields
}

// words writes a field's name as people say it: MaxBodySize is max body size.
func words(name string) string {
	var b strings.Builder
	for i, r := range name {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 && name[i-1] >= 'a' {
			b.WriteByte(' ')
		}
		b.WriteString(strings.ToLower(string(r)))
	}
	return b.String()
}
