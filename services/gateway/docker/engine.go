// Package docker runs containers at a Docker engine: labelled, without privileges, one of each name; those that an earlier
// process has left are adopted or removed.
package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

// Settings are what may be set about containers: SWITCHBACK_DOCKER_NETWORK, … A zero value means the default.
type Settings struct {
	// Network is host, or a network's name. The default is host with an engine of this Linux machine, where a container
	// then reaches what a process does, and else bridge.
	Network string `koanf:"network"`
	// Images; the tag of our own is this program's version, or dev where it is no release.
	ListenerImage    string `koanf:"listener_image"`    // switchback-listener
	GatewayImage     string `koanf:"gateway_image"`     // switchback-gateway
	CloudflaredImage string `koanf:"cloudflared_image"` // cloudflare/cloudflared:latest
	// Memory is the most that a container may take, in MiB; 512.
	Memory int64 `koanf:"memory"`
}

// DefaultMemory is the most that a container may take where nothing is set, in MiB.
const DefaultMemory = 512

func (s Settings) withDefaults() Settings {
	or := func(to *string, value string) {
		if *to == "" {
			*to = value
		}
	}
	or(&s.ListenerImage, "switchback-listener:"+version())
	or(&s.GatewayImage, "switchback-gateway:"+version())
	or(&s.CloudflaredImage, "cloudflare/cloudflared:latest")
	if s.Memory <= 0 {
		s.Memory = DefaultMemory
	}
	return s
}

var release = regexp.MustCompile(`^v\d+\.\d+\.\d+$`)

// version is the tag that `make images` gives.
func version() string {
	if v := telemetry.Built().Version; release.MatchString(v) {
		return v
	}
	return "dev"
}

// Engine is a Docker engine, and one owner's containers at it.
type Engine struct {
	Settings Settings // with the defaults filled in

	client *client.Client
	owner  string
	log    *slog.Logger
}

// Open makes an Engine of what the environment says (DOCKER_HOST, …). It asks nothing yet. The owner tells our containers
// from those of others, also those that an earlier process of ours has left.
func Open(s Settings, owner string, log *slog.Logger) (*Engine, error) {
	c, err := client.New(client.FromEnv) // the version is negotiated at the first request
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "the environment does not tell a usable Docker engine", "check DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH")
	}
	sum := sha256.Sum256([]byte(owner))
	e := &Engine{Settings: s.withDefaults(), client: c, owner: hex.EncodeToString(sum[:6]), log: log}
	if e.Settings.Network == "" {
		e.Settings.Network = "bridge"
		if e.here() {
			e.Settings.Network = hostNetwork
		}
	}
	return e, nil
}

// Close ends the connections.
func (e *Engine) Close() { _ = e.client.Close() }

const hostNetwork = "host"

// here tells whether the engine's host is this machine: of Docker Desktop it is a machine within.
func (e *Engine) here() bool {
	return runtime.GOOS == "linux" && strings.HasPrefix(e.client.DaemonHost(), "unix://")
}

// OnHost tells whether the containers share this machine's network, and its loopback.
func (e *Engine) OnHost() bool { return e.Settings.Network == hostNetwork }

// LocalName is how a container calls this machine: what listens on it, and not only on its loopback.
func (e *Engine) LocalName() string {
	if e.OnHost() {
		return "localhost"
	}
	return "host.docker.internal"
}

// askTime bounds a question to the engine.
const askTime = 10 * time.Second

// Check tells whether the engine answers.
func (e *Engine) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	_, err := e.client.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	return e.explain(err, "ask the Docker engine")
}

// explain makes a person's error of what the engine, or the way to it, has said.
func (e *Engine) explain(err error, doing string) error {
	host := e.client.DaemonHost()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrPermission) || strings.Contains(err.Error(), "permission denied"):
		return fault.New(fault.Forbidden, "the Docker engine at "+host+" does not let this user in", "add the user to the group docker, or leave runtime: docker out")
	case client.IsErrConnectionFailed(err):
		return fault.New(fault.Unavailable, "runtime: docker needs a Docker engine, and none answers at "+host, "start Docker, set DOCKER_HOST, or leave runtime: docker out")
	case errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Unavailable, "the Docker engine at "+host+" does not answer", "restart Docker")
	case errdefs.IsNotFound(err):
		return fault.Wrap(err, fault.NotFound, "cannot "+doing, "")
	default:
		return fault.Wrap(err, fault.Unavailable, "cannot "+doing, "")
	}
}

// image has the image there, and pulls it where it is not.
func (e *Engine) image(ctx context.Context, name string) error {
	_, err := e.client.ImageInspect(ctx, name)
	if !errdefs.IsNotFound(err) {
		return e.explain(err, "look for the image "+name)
	}
	e.log.Info("pulling an image", slog.String("image", name))
	answer, err := e.client.ImagePull(ctx, name, client.ImagePullOptions{})
	if err == nil {
		err = answer.Wait(ctx)
		_ = answer.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fault.Wrap(err, fault.NotFound, fmt.Sprintf("the image %s is not at the Docker engine and cannot be pulled", name),
			"build it (`make images`), or name another: SWITCHBACK_DOCKER_LISTENER_IMAGE, SWITCHBACK_DOCKER_GATEWAY_IMAGE, SWITCHBACK_DOCKER_CLOUDFLARED_IMAGE")
	}
	return nil
}
