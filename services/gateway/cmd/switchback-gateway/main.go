// Command switchback-gateway keeps the tunnels of a compose file open: of any number of them, one holds each tunnel.
package main

import (
	"os"

	"github.com/switchbackhq/switchback/pkg/boot"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/services/gateway"
	"github.com/switchbackhq/switchback/services/gateway/docker"
)

type settings struct {
	boot.Settings

	Gateway gateway.Config  `koanf:"gateway"`
	Docker  docker.Settings `koanf:"docker"` // of gateways with runtime: docker
}

func main() {
	os.Exit(boot.Main(boot.Service{
		Name:      "gateway",
		AdminAddr: "127.0.0.1:9466",
		Uses:      []string{"gateway"},
		Streams:   []string{subject.BucketStream(subject.BucketLeases), subject.BucketStream(subject.BucketGateways)},
		Publishes: []string{subject.RunRequest("probe")},
		About:     "Keeps tunnels that give local ports a public URL, and publishes the URL.",
	}, settings{}, func(env boot.Env, s settings) (supervise.Service, error) {
		return gateway.New(s.Gateway, gateway.Deps{
			Bus: env.Bus, Document: env.Document, Getenv: env.Getenv, Logger: env.Logger, Registry: env.Registry, Out: os.Stdout, Load: env.Load,
			Docker: s.Docker, NATS: s.NATS.URL,
		})
	}))
}
