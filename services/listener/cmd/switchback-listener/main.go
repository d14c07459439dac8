// Command switchback-listener takes callbacks and triggers over HTTP: any number of them may serve the same file.
package main

import (
	"os"

	"github.com/switchbackhq/switchback/pkg/boot"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/services/listener"
)

type settings struct {
	boot.Settings

	Listener listener.Config `koanf:"listener"`
}

func main() {
	os.Exit(boot.Main(boot.Service{
		Name:      "listener",
		AdminAddr: "127.0.0.1:9464",
		About:     "Takes callbacks and triggers over HTTP, and answers success when NATS holds them.",
		Uses:      []string{"listener"},
		// It reads none: what it has to know of streams is that they take what it publishes.
		Publishes: []string{subject.Callback("probe"), subject.RunRequest("probe")},
	}, settings{Listener: listener.DefaultConfig()}, func(env boot.Env, s settings) (supervise.Service, error) {
		return listener.New(s.Listener, listener.Deps{
			Bus: env.Bus, Document: env.Document, Logger: env.Logger, Registry: env.Registry, Getenv: env.Getenv,
			Tracer: env.Tracing.Tracer(listener.Scope),
		})
	}))
}
