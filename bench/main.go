// Command bench measures Switchback beside ceilings: the same outside view of each job with nothing durable in it.
// See README.md for how to read what it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/switchbackhq/switchback/bench/child"
)

func main() {
	args := os.Args[1:]
	if child.Wanted(args) {
		os.Exit(child.Main(args[1], roles()))
	}
	o, err := parseOptions(args, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v (bench --help)\n", err)
		os.Exit(2)
	}
	// The first Ctrl-C stops the measuring, its processes and removes its data; a second one ends all at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err = measure(ctx, o, os.Stdout, os.Stderr)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		os.Exit(130)
	default:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}
