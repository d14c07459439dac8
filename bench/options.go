package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// options are what the command line says.
type options struct {
	benches       []string
	quick         bool
	rounds        int
	duration      time.Duration
	callbackAfter time.Duration
	parked        int
	only          string
	dir           string
	json          string
	profile       string
	verbose       bool
}

const usage = `Usage: bench [ingest|roundtrip|park|all] [flags]

  ingest     callbacks taken and durably stored, beside fasthttp without NATS and JetStream alone
  roundtrip  complete durable runs with an outside service, beside the same flow written by hand and held in memory
  park       a great many suspended runs: memory, disk, ready after kill -9, the rate at which all complete
  all        each of them; the same as no name

Flags:
`

var names = []string{"ingest", "roundtrip", "park"}

// parseOptions reads the arguments. flag.ErrHelp means that help was asked for and given.
func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := &options{benches: names}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		_, _ = io.WriteString(stderr, usage)
		f.PrintDefaults()
	}
	f.BoolVar(&o.quick, "quick", false, "a second or two of each, to see that it works; the numbers say nothing")
	f.IntVar(&o.rounds, "rounds", 5, "rounds; in each round every subject is measured once")
	f.DurationVar(&o.duration, "duration", 3*time.Second, "length of one measurement")
	f.DurationVar(&o.callbackAfter, "callback-after", 2*time.Millisecond, "roundtrip: from the outside service's answer to its callback")
	f.IntVar(&o.parked, "parked", 100_000, "park: how many runs are suspended at once")
	f.StringVar(&o.only, "only", "", "measure only subjects whose name contains this `text`")
	f.StringVar(&o.dir, "dir", os.TempDir(), "`folder` for the data of the servers; what is made in it is removed")
	f.StringVar(&o.json, "json", "", "also write the report as JSON to this `file`")
	f.StringVar(&o.profile, "profile", "", "also write a CPU profile of each measured process into this `folder`")
	f.BoolVar(&o.verbose, "verbose", false, "pass on what the processes write to stderr")
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		switch name := args[0]; {
		case name == "all":
		case slices.Contains(names, name):
			o.benches = []string{name}
		default:
			return nil, fmt.Errorf("there is no bench %q; there are %s and all", name, strings.Join(names, ", "))
		}
		args = args[1:]
	}
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q is one word too many: the bench's name comes first, then flags", f.Arg(0))
	case o.rounds < 1, o.duration <= 0, o.callbackAfter < 0, o.parked < 1:
		return nil, errors.New("--rounds, --duration and --parked are above 0, and --callback-after is not below it")
	}
	if o.quick {
		o.rounds, o.duration, o.parked = 1, 100*time.Millisecond, min(o.parked, 100)
	}
	return o, nil
}

// warmUp is how long a contender is under load before it is measured.
func (o *options) warmUp() time.Duration { return min(o.duration/4, time.Second) }
