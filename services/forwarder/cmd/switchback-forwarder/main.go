// Command switchback-forwarder brings callbacks and run requests from the listener's side of a link to the streams: any number of
// them share the work.
package main

import (
	"os"

	"github.com/switchbackhq/switchback/pkg/boot"
	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/services/forwarder"
)

type settings struct {
	boot.Settings

	Edge edge `koanf:"edge"`
}

// edge is where the listener's side is found: by itself, or through a leaf node's link.
type edge struct {
	boot.NATS

	Domain string `koanf:"domain"` // of JetStream there, through a link
}

func main() {
	os.Exit(boot.Main(boot.Service{
		Name:      "forwarder",
		AdminAddr: "127.0.0.1:9468",
		About:     "Brings callbacks and run requests from the listener's side of a link to the streams.",
		Publishes: []string{subject.Callback("probe"), subject.RunRequest("probe"), subject.Dead("callback", "probe")},
	}, settings{Edge: edge{NATS: boot.NATS{URL: "nats://127.0.0.1:4222", InboxPrefix: "_INBOX_forwarder"}}}, func(env boot.Env, s settings) (supervise.Service, error) {
		return forwarder.New(forwarder.Deps{
			Bus: env.Bus, Logger: env.Logger, Registry: env.Registry,
			Edge: bus.Options{URL: s.Edge.URL, Name: "switchback-forwarder", Login: s.Edge.Login(), Domain: s.Edge.Domain, Logger: env.Logger},
		}), nil
	}))
}
