// Command switchback-runner executes workflows: any number of them share the work of one NATS.
package main

import (
	"os"
	"time"

	"github.com/switchbackhq/switchback/pkg/boot"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/services/runner"
)

type settings struct {
	boot.Settings

	Runner struct {
		MaxConcurrentRuns int           `koanf:"max_concurrent_runs"`
		GatewayWait       time.Duration `koanf:"gateway_wait"`
		ShutdownGrace     time.Duration `koanf:"shutdown_grace"`
		AllowShell        bool          `koanf:"allow_shell"`
	} `koanf:"runner"`
}

func main() {
	os.Exit(boot.Main(boot.Service{
		Name:      "runner",
		AdminAddr: "127.0.0.1:9465",
		About:     "Takes run requests and callbacks from NATS and carries workflows on.",
		Uses:      []string{"component", "workflow"},
	}, settings{}, func(env boot.Env, s settings) (supervise.Service, error) {
		return runner.New(runner.Config{
			MaxConcurrentRuns: s.Runner.MaxConcurrentRuns,
			GatewayWait:       s.Runner.GatewayWait,
			ShutdownGrace:     s.Runner.ShutdownGrace,
			AllowShell:        s.Runner.AllowShell,
			KeepRuns:          s.Streams.KeepRuns,
		}, runner.Deps{
			Bus: env.Bus, Document: env.Document, Getenv: env.Getenv, Logger: env.Logger, Registry: env.Registry,
		}), nil
	}))
}
