package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/switchbackhq/switchback/bench/child"
	"github.com/switchbackhq/switchback/bench/report"
)

// lab is where all measurements are made.
type lab struct {
	options  *options
	dir      string
	progress io.Writer
}

// contender is one of the things that are compared.
type contender struct {
	name    string
	ceiling bool
	nats    string // embedded, external or none
	measure func(ctx context.Context, s *site) ([]report.Value, error)
}

// site is what one measurement of one subject uses: processes and a folder of its own, gone when it is over.
type site struct {
	*lab

	group child.Group
	dir   string
	label string
}

// compare measures the contenders in turns: in each round each of them once, every second round from the last to the
// first. A machine that slows down slows all of them.
func (l *lab) compare(ctx context.Context, title string, rounds int, contenders []contender) (*report.Table, error) {
	t := &report.Table{Title: title}
	var wanted []contender
	for _, s := range contenders {
		if strings.Contains(s.name, l.options.only) {
			wanted = append(wanted, s)
			t.Rows = append(t.Rows, &report.Row{Subject: s.name, Ceiling: s.ceiling, NATS: s.nats})
		}
	}
	if len(wanted) == 0 {
		return nil, fmt.Errorf("no contender's name contains %q", l.options.only)
	}
	for round := range rounds {
		if round > 0 {
			slices.Reverse(wanted)
		}
		for _, s := range wanted {
			l.sayf("%s, round %d of %d: %s", title, round+1, rounds, s.name)
			values, err := l.once(ctx, fmt.Sprintf("%s %s %d", title, s.name, round+1), s)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", title, s.name, err)
			}
			t.Row(s.name).Add(values)
		}
	}
	return t, nil
}

// once measures a subject one time.
func (l *lab) once(ctx context.Context, label string, c contender) (values []report.Value, err error) {
	s, err := l.site(label)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return c.measure(ctx, s)
}

func (l *lab) site(label string) (*site, error) {
	dir, err := os.MkdirTemp(l.dir, "site-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the servers' data: %w", err)
	}
	s := &site{lab: l, dir: dir, label: label}
	s.group.Verbose = l.options.verbose
	return s, nil
}

func (s *site) close() error { return errors.Join(s.group.Stop(), os.RemoveAll(s.dir)) }

// start starts a process and its role.
func (s *site) start(ctx context.Context, role, name string, args, started any) (*child.Process, error) {
	p, err := s.group.Start(ctx, role, name)
	if err != nil {
		return nil, err
	}
	err = p.Call(ctx, "Start", args, started)
	return p, err
}

// profileFile names the file for a process's profile.
func (s *site) profileFile(p *child.Process) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, s.label+" "+p.Name)
	return filepath.Join(s.options.profile, name+".pprof")
}

func (l *lab) sayf(format string, args ...any) {
	_, _ = fmt.Fprintf(l.progress, format+"\n", args...)
}
