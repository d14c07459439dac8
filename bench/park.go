package main

import (
	"context"

	"github.com/switchbackhq/switchback/bench/report"
)

func park(context.Context, *lab) (*report.Bench, error) { return nil, nil }
