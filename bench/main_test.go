package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/bench/child"
	"github.com/switchbackhq/switchback/bench/report"
)

func TestMain(m *testing.M) {
	// The test's own binary is started again as the bench's processes.
	if args := os.Args[1:]; child.Wanted(args) {
		os.Exit(child.Main(args[1], roles()))
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // children of a test with -race end without a nap
	goleak.VerifyTestMain(m)
}

// Each bench still works, shows all that it promises and leaves nothing behind. What its numbers are is no matter here.
func TestQuickRunOfEachBench(t *testing.T) {
	metrics := map[string][]string{
		"ingest":    {callbacksPerSecond, "p99", p99AtHalf, allocations, ofCeiling},
		"roundtrip": {runsPerSecond, callbackP50, callbackP99, cpuPer1000, writesPerRun, diskPerRun, ofCeiling},
		"park":      {storePerRun, readyAfter, "suspended/s", "completed/s", "disk a suspended run"},
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "out.json")
			o, err := parseOptions([]string{name, "--quick", "--json", file, "--dir", filepath.Join(dir, "data")}, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			var text, progress bytes.Buffer
			if err := measure(t.Context(), o, &text, &progress); err != nil {
				t.Fatalf("%v\n%s", err, &progress)
			}
			r := readReport(t, file)
			if len(r.Benches) != 1 || r.Benches[0].Name != name {
				t.Fatalf("the report has not one bench %s: %v", name, r.Benches)
			}
			for _, table := range r.Benches[0].Tables {
				for _, row := range table.Rows {
					if !strings.Contains(row.Subject, "Switchback") {
						continue
					}
					for _, metric := range metrics[name] {
						if m := row.Metric(metric); m == nil || len(m.Rounds) != 1 {
							t.Errorf("%s, %s: the metric %q is %v", table.Title, row.Subject, metric, m)
						}
					}
				}
			}
			if !strings.Contains(text.String(), "Switchback") {
				t.Errorf("the text shows no Switchback:\n%s", &text)
			}
			left, err := os.ReadDir(o.dir)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func readReport(t *testing.T, file string) *report.Report {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r *report.Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestInterruptInTheMiddleOfALoadCleansUp(t *testing.T) {
	data, profiles := t.TempDir(), t.TempDir()
	o, err := parseOptions([]string{
		"ingest", "--duration", "1h", "--only", "embedded NATS", "--dir", data, "--profile", profiles,
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	measured := make(chan error, 1)
	go func() { measured <- measure(ctx, o, io.Discard, io.Discard) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begun := false; !begun; { // a profile is begun when the load that is measured begins
		select {
		case <-tick.C:
			files, err := os.ReadDir(profiles)
			if err != nil {
				t.Fatal(err)
			}
			begun = len(files) > 0
		case err := <-measured:
			t.Fatalf("ended too early: %v", err)
		}
	}
	cancel()
	if err := <-measured; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string // benches, or part of the error
	}{
		{"all", "ingest roundtrip park"},
		{"park --parked 1000000", "park"},
		{"roundtrip --quick --rounds 9", "roundtrip"},
		{"", "ingest roundtrip park"},
		{"--quick", "ingest roundtrip park"},
		{"speed", `no bench "speed"`},
		{"ingest park", `"park" is one word too many`},
		{"ingest --rounds 0", "above 0"},
		{"ingest --callback-after -1s", "not below it"},
		{"ingest --fast", "not defined"},
	} {
		o, err := parseOptions(strings.Fields(tt.args), io.Discard)
		switch {
		case err != nil:
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q: error %v, want %q", tt.args, err, tt.want)
			}
		case strings.Join(o.benches, " ") != tt.want:
			t.Errorf("%q: benches %v, want %q", tt.args, o.benches, tt.want)
		case o.quick && o.rounds != 1:
			t.Errorf("%q: %d rounds", tt.args, o.rounds)
		}
	}
	if _, err := parseOptions([]string{"--help"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help: %v", err)
	}
}
