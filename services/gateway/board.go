package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/gateway/lease"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// board is where the tunnels' statuses hang: for this process, in NATS, and for who is to be told of a new URL.
type board struct {
	deps    Deps
	ttl     time.Duration // of a status whose process died
	metrics *metrics
	wake    chan struct{}

	mu    sync.Mutex
	notes map[int]*note

	storing sync.Mutex // so that what is taken back is not published again behind it
}

// note is what is known of one port.
type note struct {
	plan     plan
	status   event.GatewayStatus
	previous string
	memory   memory // as stored
	dirty    bool
	standby  bool // another process publishes it
	told     uint64
}

// memory outlives processes: the last address of a port, so that a new one is known to be new.
type memory struct {
	URL        string `json:"url"`
	Address    string `json:"address,omitempty"`
	Previous   string `json:"previous_url,omitempty"`
	Generation uint64 `json:"generation"`
	Notified   uint64 `json:"notified,omitempty"` // generation that on_url was run for last
}

func memoryKey(port int) string { return "address." + strconv.Itoa(port) }

func newBoard(d Deps, ttl time.Duration, m *metrics) *board {
	return &board{deps: d, ttl: ttl, metrics: m, wake: make(chan struct{}, 1), notes: map[int]*note{}}
}

// all gives the statuses by port.
func (b *board) all() []event.GatewayStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []event.GatewayStatus
	for _, port := range slices.Sorted(maps.Keys(b.notes)) {
		out = append(out, b.notes[port].status)
	}
	return out
}

// rememberTime bounds how long a tunnel waits for its last address.
const rememberTime = 5 * time.Second

// remembered gives the address that a port had last.
func (b *board) remembered(ctx context.Context, p plan) tunnel.Status {
	var m memory
	if b.deps.Bus != nil {
		ctx, cancel := context.WithTimeout(ctx, rememberTime)
		defer cancel()
		e, err := b.deps.Bus.Bucket(subject.BucketLeases).Get(ctx, memoryKey(p.port))
		if err == nil {
			err = json.Unmarshal(e.Value, &m)
		}
		if err != nil && !errors.Is(err, bus.ErrNotFound) && ctx.Err() == nil {
			b.deps.Logger.Warn("cannot read the last address of a tunnel", slog.Int("port", p.port), slog.Any("error", err))
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes[p.port] = &note{plan: p, memory: m, previous: m.Previous}
	return tunnel.Status{URL: m.URL, Address: m.Address, PreviousURL: m.Previous, Generation: m.Generation}
}

// set takes a tunnel's new status.
func (b *board) set(p plan, s tunnel.Status, log *slog.Logger) {
	now := status(p, s)
	b.mu.Lock()
	n := b.notes[p.port]
	if n == nil {
		n = &note{plan: p}
		b.notes[p.port] = n
	}
	before := n.status
	n.plan, n.status, n.previous, n.dirty, n.standby = p, now, s.PreviousURL, true, false
	proved := now.PublicURL != "" && !s.HealthySince.IsZero()
	announce := proved && (before.Generation != now.Generation || n.told == 0)
	if announce {
		n.told++
	}
	b.mu.Unlock()
	b.metrics.changed(p, before, s)
	logChange(log, before, now, s)
	if announce {
		b.announce(now, log)
	}
	if s.State == tunnel.Failed && before.Status != now.Status && b.deps.Failed != nil {
		b.deps.Failed(now, s.Hint)
	}
	b.poke()
}

func (b *board) announce(s event.GatewayStatus, log *slog.Logger) {
	log.Info("the tunnel is up", slog.String("public_url", s.PublicURL), slog.Uint64("generation", s.Generation))
	b.say(s)
}

// say tells people a URL.
func (b *board) say(s event.GatewayStatus) {
	if b.deps.Out != nil {
		fmt.Fprintf(b.deps.Out, "%s%s\n", urlLine, s.PublicURL)
	}
	if b.deps.Announce != nil {
		b.deps.Announce(s)
	}
}

// logChange says what a person wants to know: a change of state, or of its reason.
func logChange(log *slog.Logger, before, now event.GatewayStatus, s tunnel.Status) {
	if before.Status == now.Status && before.Error == now.Error || now.Status == event.GatewayUp && before.Status != string(tunnel.Degraded) {
		return
	}
	attrs := []any{slog.String("status", now.Status)}
	if now.Error != "" {
		attrs = append(attrs, slog.String("error", now.Error), slog.String("class", string(s.Class)))
	}
	if s.Hint != "" {
		attrs = append(attrs, slog.String("hint", s.Hint))
	}
	if !s.NextRetry.IsZero() {
		attrs = append(attrs, slog.Time("next_retry", s.NextRetry))
	}
	switch {
	case s.State == tunnel.Failed:
		log.Error("the tunnel has failed and is not tried again", attrs...)
	case now.Error != "":
		log.Warn("the tunnel is not usable", attrs...)
	default:
		log.Debug("the tunnel's state has changed", attrs...)
	}
}

// standby notes that another process holds a tunnel.
func (b *board) standby(p plan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes[p.port] = &note{plan: p, standby: true, status: event.GatewayStatus{
		ID: p.id, Port: p.port, Driver: p.driver, Status: string(tunnel.Standby), Since: time.Now().UTC(),
	}}
}

// forget drops what is known of a tunnel that another process publishes.
func (b *board) forget(p plan) {
	b.mu.Lock()
	delete(b.notes, p.port)
	b.mu.Unlock()
	b.metrics.left(p)
}

// leaveTime bounds what is published of a tunnel that is closed.
const leaveTime = 2 * time.Second

// left notes that this process does not keep a tunnel any more. When it was closed in order, nobody else does yet.
func (b *board) left(ctx context.Context, p plan) {
	b.storing.Lock()
	defer b.storing.Unlock()
	b.mu.Lock()
	n := b.notes[p.port]
	delete(b.notes, p.port)
	b.mu.Unlock()
	b.metrics.left(p)
	if n == nil || b.deps.Bus == nil || errors.Is(context.Cause(ctx), lease.ErrLost) {
		return
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	if err := b.deps.Bus.Bucket(subject.BucketGateways).Delete(leaving, strconv.Itoa(p.port)); err != nil {
		b.deps.Logger.Warn("cannot take back the address of a tunnel; it ends by itself", slog.Int("port", p.port), slog.Any("error", err))
	}
}

func (b *board) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run publishes until ctx ends: what has changed at once, all else often enough that it stays.
func (b *board) run(ctx context.Context) {
	if b.deps.Bus == nil {
		<-ctx.Done()
		return
	}
	every := time.NewTicker(b.ttl / refreshes)
	defer every.Stop()
	for {
		again := b.publish(ctx)
		var retry <-chan time.Time
		if again {
			retry = time.After(publishAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		case <-retry:
		case <-every.C:
			b.mu.Lock()
			for _, n := range b.notes {
				n.dirty = !n.standby
			}
			b.mu.Unlock()
		}
	}
}

const (
	refreshes    = 3
	publishAgain = time.Second
)

// publish stores what is dirty, and tells whether something could not be stored.
func (b *board) publish(ctx context.Context) (again bool) {
	b.storing.Lock()
	defer b.storing.Unlock()
	b.mu.Lock()
	var due []note
	for _, n := range b.notes {
		if n.dirty && !n.standby && n.status.Port != 0 {
			n.dirty = false
			due = append(due, *n)
		}
	}
	b.mu.Unlock()
	for i := range due {
		n := &due[i]
		err := b.store(ctx, n)
		b.mu.Lock()
		if now := b.notes[n.plan.port]; now != nil {
			now.memory = n.memory
			if err != nil {
				now.dirty, again = true, true
			}
		}
		b.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			b.deps.Logger.Warn("cannot publish the address of a tunnel; trying again", slog.Int("port", n.plan.port), slog.Any("error", err))
		}
	}
	return again
}

// store keeps the address, then publishes it, then has those told who asked for it. Each step can be done again.
func (b *board) store(ctx context.Context, n *note) error {
	leases := b.deps.Bus.Bucket(subject.BucketLeases)
	remember := func() error {
		data, err := json.Marshal(n.memory)
		if err != nil {
			return fmt.Errorf("encode an address: %w", err)
		}
		_, err = leases.Put(ctx, memoryKey(n.plan.port), data, 0)
		return err
	}
	if n.status.Generation != n.memory.Generation {
		old := n.memory
		n.memory = memory{
			URL: n.status.PublicURL, Address: n.status.PublicAddress, Previous: n.previous, Generation: n.status.Generation, Notified: old.Notified,
		}
		if err := remember(); err != nil {
			n.memory = old
			return err
		}
	}
	data, err := json.Marshal(n.status)
	if err != nil {
		return fmt.Errorf("encode a status: %w", err)
	}
	if _, err := b.deps.Bus.Bucket(subject.BucketGateways).Put(ctx, strconv.Itoa(n.plan.port), data, b.ttl); err != nil {
		return err
	}
	if n.plan.onURL == "" || n.memory.Generation == n.memory.Notified || n.status.Status != event.GatewayUp {
		return nil
	}
	if err := b.runOnURL(ctx, n); err != nil {
		return err
	}
	n.memory.Notified = n.memory.Generation
	return remember()
}

// runOnURL asks for a run of the gateway's on_url workflow. Asking twice for one generation starts one run.
func (b *board) runOnURL(ctx context.Context, n *note) error {
	input, err := json.Marshal(map[string]any{
		"port": n.plan.port, "public_url": n.status.PublicURL, "previous_url": n.previous, "generation": n.status.Generation,
	})
	if err != nil {
		return fmt.Errorf("encode the input of %s: %w", n.plan.onURL, err)
	}
	id := fmt.Sprintf("gateway.%d.%d", n.plan.port, n.status.Generation)
	_, err = b.deps.Bus.PublishRunRequest(ctx, &event.RunRequest{Workflow: n.plan.onURL, Input: input, MsgID: id})
	if err == nil {
		b.deps.Logger.Info("asked for a run, for the public URL is new", slog.String("workflow", n.plan.onURL), slog.String("public_url", n.status.PublicURL))
	}
	return err
}
