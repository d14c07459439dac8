package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/cmd/switchback/client"
	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/pkg/boot"
	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/fault"
	pkgsettings "github.com/switchbackhq/switchback/pkg/settings"
)

type provisionCommand struct {
	Replicas     *int              `placeholder:"N" help:"On how many servers of the NATS cluster each stream lies: 1, 3 or 5 (1)."`
	Storage      *boot.Storage     `placeholder:"KIND" help:"file or memory (file)."`
	Edge         bool              `help:"Make what the listener's side of a link needs, instead (docs/deploy.md)."`
	EdgeMaxBytes *pkgsettings.Size `placeholder:"SIZE" help:"What the listener's side holds at most while the other is away (1GiB)."`
	DryRun       bool              `help:"Make nothing: print what would be made. Needs no NATS; where one answers, the output says what is there."`
	Commands     bool              `help:"With --dry-run: print commands of nats that make it."`
	system
	format
}

// provisionTimeout bounds the making of the streams.
const provisionTimeout = 30 * time.Second

// Run makes the streams that are missing.
func (p *provisionCommand) Run(ctx context.Context, s *streams) error {
	if p.Commands && !p.DryRun {
		return fault.New(fault.Usage, "--commands prints, and does not go without --dry-run", "`switchback provision --dry-run --commands`")
	}
	layout, err := p.layout()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, provisionTimeout)
	defer cancel()
	if p.DryRun {
		return p.dryRun(ctx, s, layout)
	}
	return p.with(ctx, func(c *client.Client) error {
		before, err := c.Survey(ctx, layout)
		if err != nil {
			return err
		}
		if err := c.Provision(ctx, layout); err != nil {
			return err
		}
		return p.print(s, map[string]any{"provisioned": true, "items": itemsOf(before)}, func() error {
			made, differ := 0, 0
			for _, it := range before {
				switch it.State {
				case bus.Missing:
					made++
				case bus.Differs:
					differ++
					fmt.Fprintf(s.out, "%s is left as it is: %s\n", name(&it), strings.Join(it.Differences, "; "))
				default:
				}
			}
			fmt.Fprintf(s.out, "The streams and buckets are there: %d made, %d found", made, len(before)-made)
			if differ > 0 {
				fmt.Fprintf(s.out, ", %d with other settings", differ)
			}
			fmt.Fprintln(s.out, ".")
			return nil
		})
	})
}

// layout reads what the services read of the environment, SWITCHBACK_STREAMS_…, with the flags over it.
func (p *provisionCommand) layout() (bus.Layout, error) {
	var given struct {
		Streams boot.Streams `koanf:"streams"`
	}
	if err := pkgsettings.Load(&given, pkgsettings.Sources{EnvPrefix: "SWITCHBACK_"}); err != nil {
		return bus.Layout{}, fault.Wrap(err, fault.Usage, "the settings", "")
	}
	if p.Replicas != nil {
		given.Streams.Replicas = *p.Replicas
	}
	if p.Storage != nil {
		given.Streams.Storage = *p.Storage
	}
	l := given.Streams.Layout()
	l.Edge = p.Edge
	if p.EdgeMaxBytes != nil {
		l.EdgeMaxBytes = int64(*p.EdgeMaxBytes)
	}
	if l.Replicas < 0 || l.Replicas > 5 {
		return l, fault.New(fault.Usage, fmt.Sprintf("%d replicas are not possible", l.Replicas), "1, 3 or 5")
	}
	return l, nil
}

// dryRun prints what would be made. Without a NATS to look at that is everything.
func (p *provisionCommand) dryRun(ctx context.Context, s *streams, layout bus.Layout) error {
	items := layout.Items()
	err := p.with(ctx, func(c *client.Client) error {
		there, err := c.Survey(ctx, layout)
		if err == nil {
			items = there
		}
		return err
	})
	switch {
	case err == nil:
	case fault.CodeOf(err) == fault.Unavailable:
		fmt.Fprintf(s.err, "No NATS with JetStream answers at %s: this is what would be made where nothing is.\n", bus.Redacted(p.NATS))
	default:
		return err
	}
	if p.Commands && !p.json() {
		return commands(s, items)
	}
	return p.print(s, itemsOf(items), func() error {
		rows := make([][]string, 0, len(items))
		for _, it := range items {
			var c itemConfig
			if err := json.Unmarshal(it.Config, &c); err != nil {
				return fmt.Errorf("read the settings of %s: %w", name(&it), err)
			}
			rows = append(rows, []string{name(&it), string(it.State), c.about(), strings.Join(it.Differences, "; ")})
		}
		return show.Table(s.out, []string{"STREAM", "STATE", "SETTINGS", "DIFFERENCES"}, rows)
	})
}

// itemConfig is what a person wants to know of an item's settings.
type itemConfig struct {
	Subjects  []string      `json:"subjects"`
	Filters   []string      `json:"filter_subjects"`
	Filter    string        `json:"filter_subject"`
	Retention string        `json:"retention"`
	Storage   string        `json:"storage"`
	Replicas  int           `json:"num_replicas"`
	MaxAge    time.Duration `json:"max_age"`
	MaxBytes  int64         `json:"max_bytes"`
}

func (c *itemConfig) about() string {
	if c.Storage == "" {
		return strings.Join(append(c.Filters, c.Filter), " ")
	}
	about := fmt.Sprintf("%s; %s, %s, R%d", strings.Join(c.Subjects, " "), c.Retention, c.Storage, c.Replicas)
	if c.MaxAge > 0 {
		about += ", " + show.Took(c.MaxAge)
	}
	if c.MaxBytes > 0 {
		about += ", " + pkgsettings.Size(c.MaxBytes).String()
	}
	return about
}

// name writes an item's name: RUNS, or RUNS/runner for a consumer.
func name(it *bus.Item) string {
	if it.Consumer != "" {
		return it.Stream + "/" + it.Consumer
	}
	return it.Stream
}

// provisionItem is an item as JSON.
type provisionItem struct {
	Stream      string          `json:"stream"`
	Consumer    string          `json:"consumer,omitempty"`
	State       bus.State       `json:"state,omitempty"`
	Differences []string        `json:"differences,omitempty"`
	Config      json.RawMessage `json:"config"`
}

func itemsOf(all []bus.Item) []provisionItem {
	out := make([]provisionItem, len(all))
	for i, it := range all {
		out[i] = provisionItem(it)
	}
	return out
}

// commands prints a script for those who manage NATS by hand.
func commands(s *streams, items []bus.Item) error {
	for _, it := range items {
		if it.State == bus.There || it.State == bus.Differs {
			continue
		}
		var config bytes.Buffer
		if err := json.Indent(&config, it.Config, "", "  "); err != nil {
			return fmt.Errorf("write the settings of %s: %w", name(&it), err)
		}
		add := "nats stream add " + it.Stream
		if it.Consumer != "" {
			add = "nats consumer add " + it.Stream + " " + it.Consumer
		}
		fmt.Fprintf(s.out, "%s --config /dev/stdin <<'EOF'\n%s\nEOF\n", add, config.Bytes())
	}
	return nil
}
