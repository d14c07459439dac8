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

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/bench/child"
	"github.com/switchbackhq/switchback/bench/report"
)

func TestMain(m *testing.M) {
	// The test's own binary is started again as the bench's processes.
	if args := os.Args[1:]; child.Wanted(args) {
		os.Exit(child.Main(args[1], roles()))
	}
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

func TestInterruptStopsAndCleansUp(t *testing.T) {
	dir := t.TempDir()
	o, err := parseOptions([]string{"ingest", "--duration", "1h", "--only", "no NATS", "--dir", dir}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	// The first line of progress says that measuring begins.
	err = measure(ctx, o, io.Discard, writerFunc(func(b []byte) (int, error) { cancel(); return len(b), nil }))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

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
