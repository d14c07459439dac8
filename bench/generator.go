package main

import (
	"context"

	"github.com/switchbackhq/switchback/bench/child"
	"github.com/switchbackhq/switchback/bench/load"
)

// generator is the load generator's process.
type generator struct{ *child.Process }

// generator starts one with its connections to the target.
func (s *site) generator(ctx context.Context, target load.Target) (generator, error) {
	p, err := s.group.Start(ctx, roleLoad, "load generator")
	if err != nil {
		return generator{}, err
	}
	return generator{p}, p.Call(ctx, "Open", target, &child.Nothing{})
}

// run puts the target under load. A load of which anything failed is an error.
func (g generator) run(ctx context.Context, plan load.Plan) (load.Result, error) {
	var r load.Result
	err := g.Call(ctx, "Run", plan, &r)
	if err == nil {
		err = r.Err()
	}
	return r, err
}
