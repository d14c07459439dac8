// Command switchback-runner executes workflows: any number of them share the work of one NATS.
package main

import (
	"os"

	"github.com/switchbackhq/switchback/pkg/boot"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/services/runner"
)

type settings struct {
	boot.Settings

	Runner runner.Config `koanf:"runner"`
}

func main() {
	os.Exit(boot.Main(boot.Service{
		Name:      "runner",
		AdminAddr: "127.0.0.1:9465",
		About:     "Takes run requests and callbacks from NATS and carries workflows on.",
		Uses:      []string{"component", "workflow"},
		Streams: []string{
			subject.StreamRuns, subject.StreamWaits, subject.BucketStream(subject.BucketRuns), subject.BucketStream(subject.BucketGateways), subject.BucketStream(subject.BucketDefinitions),
			subject.BucketStream(subject.BucketSlots),
			subject.ObjectStream(subject.BucketPayloads), subject.ObjectStream(subject.BucketDocuments),
		},
		Publishes: []string{subject.RunRequest("probe"), subject.Wait("probe"), subject.Dead("request", "probe")},
	}, settings{}, func(env boot.Env, s settings) (supervise.Service, error) {
		s.Runner.KeepRuns = s.Streams.KeepRuns
		return runner.New(s.Runner, runner.Deps{
			Bus: env.Bus, Document: env.Document, Getenv: env.Getenv, Logger: env.Logger, Registry: env.Registry,
			Tracer: env.Tracing.Tracer(runner.Scope),
		}), nil
	}))
}
