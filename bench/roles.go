package main

import (
	"context"

	"github.com/switchbackhq/switchback/bench/ceiling"
	"github.com/switchbackhq/switchback/bench/child"
	"github.com/switchbackhq/switchback/bench/load"
	"github.com/switchbackhq/switchback/bench/mock"
	"github.com/switchbackhq/switchback/bench/server"
	"github.com/switchbackhq/switchback/bench/system"
)

// The roles of the processes that the bench starts.
const (
	roleLoad    = "load"
	roleMock    = "mock"
	roleNATS    = "nats"
	rolePlain   = "plain"
	rolePublish = "publish"
	roleDurable = "durable"
	roleFlow    = "flow"
	roleSystem  = "system"
)

func roles() map[string]child.Role {
	return map[string]child.Role{
		roleLoad:    func(ctx context.Context) any { return load.New(ctx) },
		roleMock:    func(ctx context.Context) any { return mock.New(ctx) },
		roleNATS:    func(ctx context.Context) any { return server.NewRole(ctx) },
		rolePlain:   func(ctx context.Context) any { return ceiling.NewPlain(ctx) },
		rolePublish: func(ctx context.Context) any { return ceiling.NewPublish(ctx) },
		roleDurable: func(ctx context.Context) any { return ceiling.NewDurable(ctx) },
		roleFlow:    func(ctx context.Context) any { return ceiling.NewFlow(ctx) },
		roleSystem:  func(ctx context.Context) any { return system.New(ctx) },
	}
}
