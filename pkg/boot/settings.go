package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/settings"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

// Settings are what every service's binary can be told by settings file and environment: SWITCHBACK_NATS_URL,
// SWITCHBACK_STREAMS_REPLICAS, … A service embeds them in its own.
type Settings struct {
	NATS      NATS   `koanf:"nats"`
	AdminAddr string `koanf:"admin_addr"`
	// DrainDelay is how long /readyz says no before the service stops taking work.
	DrainDelay time.Duration `koanf:"drain_delay"`
	Log        struct {
		Level  slog.Level       `koanf:"level"`
		Format telemetry.Format `koanf:"format"`
	} `koanf:"log"`
	Streams Streams `koanf:"streams"`
}

func (s *Settings) common() *Settings { return s }

// DefaultNATS is where NATS is looked for.
const DefaultNATS = "nats://127.0.0.1:4222"

// NATS says where it is, and who we are to it.
type NATS struct {
	URL         string          `koanf:"url"`
	User        string          `koanf:"user"`
	Password    settings.Secret `koanf:"password"`
	Credentials string          `koanf:"credentials"` // path of a file of credentials (JWT)
	NkeyFile    string          `koanf:"nkey_file"`   // path of an nkey's seed
	CAFile      string          `koanf:"ca_file"`
	CertFile    string          `koanf:"cert_file"`
	KeyFile     string          `koanf:"key_file"`
	// InboxPrefix begins the subjects that answers come on; default _INBOX_<service>, which is all that our users in
	// deploy/nats may subscribe to of that kind.
	InboxPrefix string `koanf:"inbox_prefix"`
}

// Login gives the bus who we are.
func (n NATS) Login() bus.Login {
	return bus.Login{
		User: n.User, Password: n.Password.Reveal(), CredentialsFile: n.Credentials, NkeyFile: n.NkeyFile,
		CAFile: n.CAFile, CertFile: n.CertFile, KeyFile: n.KeyFile, InboxPrefix: n.InboxPrefix,
	}
}

// Streams say how the streams are made where they are missing. Zero values mean the defaults.
type Streams struct {
	// Provision says whether this service makes what is missing, or only checks what it uses itself.
	Provision       Provision     `koanf:"provision"`
	Replicas        int           `koanf:"replicas"`
	Storage         Storage       `koanf:"storage"`
	MaxWait         time.Duration `koanf:"max_wait"`
	KeepCallbacks   time.Duration `koanf:"keep_callbacks"`
	KeepRuns        time.Duration `koanf:"keep_runs"`
	KeepReceived    time.Duration `koanf:"keep_received"`
	ReceivedBytes   settings.Size `koanf:"received_max_bytes"`
	DuplicateWindow time.Duration `koanf:"duplicate_window"`
	Redelivery      time.Duration `koanf:"redelivery"` // how long a runner may be silent before its messages go to another
	// MaxInline is the most that a payload has in a message: what is larger goes to the object store.
	MaxInline settings.Size `koanf:"max_inline"`
	// MaxObject is the most that is kept of one payload or run document.
	MaxObject settings.Size `koanf:"max_object"`
}

// Layout gives them to the bus.
func (s Streams) Layout() bus.Layout {
	return bus.Layout{
		Replicas: s.Replicas, Memory: s.Storage == Memory, MaxWait: s.MaxWait, KeepCallbacks: s.KeepCallbacks, KeepRuns: s.KeepRuns,
		KeepReceived: s.KeepReceived, ReceivedMaxBytes: int64(s.ReceivedBytes), DedupeWindow: s.DuplicateWindow, AckWait: s.Redelivery,
	}
}

// Prepare makes the streams that are missing, or waits for those that are named, as Provision says.
func (s Streams) Prepare(ctx context.Context, b *bus.Bus, names ...string) error {
	if s.Provision == Check {
		if err := b.Check(ctx, s.Layout(), names...); err != nil {
			return fmt.Errorf("check the streams: %w", err)
		}
		return nil
	}
	if err := b.Provision(ctx, s.Layout()); err != nil {
		return fmt.Errorf("make the streams: %w", err)
	}
	return nil
}

// Provision is create (the default) or check.
type Provision string

// What a service does about streams that are missing.
const (
	Create Provision = "create"
	Check  Provision = "check"
)

// UnmarshalText reads a setting.
func (p *Provision) UnmarshalText(text []byte) error {
	switch *p = Provision(text); *p {
	case Create, Check:
		return nil
	default:
		return errors.New("is neither create nor check")
	}
}

// Storage is file (the default) or memory.
type Storage string

// Where streams are kept.
const (
	File   Storage = "file"
	Memory Storage = "memory"
)

// UnmarshalText reads a setting.
func (s *Storage) UnmarshalText(text []byte) error {
	switch *s = Storage(text); *s {
	case File, Memory:
		return nil
	default:
		return errors.New("is neither file nor memory")
	}
}
