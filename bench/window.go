package main

import (
	"context"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/switchbackhq/switchback/bench/child"
)

// window is the time in which what the measured processes use is counted, and profiled where that was asked for.
type window struct {
	site      *site
	processes []*child.Process
	before    child.Usage
}

// open begins to count.
func (s *site) open(ctx context.Context, processes ...*child.Process) (*window, error) {
	w := &window{site: s, processes: processes}
	if s.options.profile != "" {
		for _, p := range processes {
			if err := p.StartProfile(ctx, s.profileFile(p)); err != nil {
				return nil, err
			}
		}
	}
	var err error
	w.before, err = total(ctx, processes)
	return w, err
}

// close ends the counting: CPU and allocations since open, of all processes together.
func (w *window) close(ctx context.Context) (child.Usage, error) {
	used, err := total(ctx, w.processes)
	if err != nil {
		return child.Usage{}, err
	}
	used.CPU -= w.before.CPU
	used.Allocations -= w.before.Allocations
	if w.site.options.profile != "" {
		for _, p := range w.processes {
			if err := p.StopProfile(ctx); err != nil {
				return child.Usage{}, err
			}
		}
	}
	return used, nil
}

func total(ctx context.Context, processes []*child.Process) (sum child.Usage, err error) {
	for _, p := range processes {
		u, err := p.Usage(ctx, false)
		if err != nil {
			return child.Usage{}, err
		}
		sum.CPU += u.CPU
		sum.Allocations += u.Allocations
	}
	return sum, nil
}

// diskBytes is the size of all files in a folder. A file that goes away meanwhile does not count.
func diskBytes(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // gone meanwhile
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
