package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/switchbackhq/switchback/bench/report"
)

// measure runs the benches that were asked for and shows what they found: text on stdout, progress on stderr. What was
// measured before an error is shown too.
func measure(ctx context.Context, o *options, stdout, stderr io.Writer) (err error) {
	for _, dir := range []string{o.dir, o.profile, filepath.Dir(o.json)} {
		if dir != "" {
			if err := os.MkdirAll(dir, 0o750); err != nil { //nolint:gosec // named by whoever starts the bench
				return fmt.Errorf("make a folder: %w", err)
			}
		}
	}
	dir, err := os.MkdirTemp(o.dir, "switchback-bench-")
	if err != nil {
		return fmt.Errorf("make a folder for the servers' data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }() //nolint:gosec // just made

	r := &report.Report{Environment: report.ReadEnvironment(ctx), Started: time.Now(), Quick: o.quick}
	l := &lab{options: o, dir: dir, progress: stderr}
	benches := map[string]func(context.Context, *lab) (*report.Bench, error){
		"ingest": ingest, "roundtrip": roundtrip, "park": park,
	}
	for _, name := range o.benches {
		bench, benchErr := benches[name](ctx, l)
		if bench != nil && len(bench.Tables) > 0 {
			r.Benches = append(r.Benches, bench)
		}
		if benchErr != nil {
			err = fmt.Errorf("%s: %w", name, benchErr)
			break
		}
	}
	r.Seconds = time.Since(r.Started).Seconds()
	return errors.Join(err, show(r, o.json, stdout))
}

func show(r *report.Report, file string, stdout io.Writer) error {
	if len(r.Benches) == 0 {
		return nil
	}
	if err := r.WriteText(stdout); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if file == "" {
		return nil
	}
	f, err := os.Create(file) //nolint:gosec // named by whoever starts the bench
	if err != nil {
		return fmt.Errorf("create the report: %w", err)
	}
	return errors.Join(r.WriteJSON(f), f.Close())
}
