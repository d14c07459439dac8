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
	before    []child.Usage
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
	w.before, err = usages(ctx, processes)
	return w, err
}

// close ends the counting: CPU and allocations of each process since open.
func (w *window) close(ctx context.Context) ([]child.Usage, error) {
	used, err := usages(ctx, w.processes)
	if err != nil {
		return nil, err
	}
	for i := range used {
		used[i].CPU -= w.before[i].CPU
		used[i].Allocations -= w.before[i].Allocations
	}
	if w.site.options.profile != "" {
		for _, p := range w.processes {
			if err := p.StopProfile(ctx); err != nil {
				return nil, err
			}
		}
	}
	return used, nil
}

func usages(ctx context.Context, processes []*child.Process) ([]child.Usage, error) {
	all := make([]child.Usage, len(processes))
	for i, p := range processes {
		var err error
		if all[i], err = p.Usage(ctx, false); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// cpu is that of all processes together.
func cpu(used []child.Usage) (sum time.Duration) {
	for _, u := range used {
		sum += u.CPU
	}
	return sum
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
