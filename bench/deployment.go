package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/switchbackhq/switchback/bench/child"
	"github.com/switchbackhq/switchback/bench/server"
	"github.com/switchbackhq/switchback/bench/system"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// topology says which processes Switchback is made of.
type topology struct {
	embedded bool // everything in one process, as `switchback up` does; else each part in its own
	listener bool
	runners  int // embedded: 0 or 1
}

// deployment is a Switchback that runs, or ran and can run again on the same data and ports.
type deployment struct {
	site     *site
	topology topology
	document string
	listener string // host:port

	nats      string           // URL; "" before the first start
	processes []*child.Process // all of Switchback, and nats-server
	store     *child.Process   // the one that JetStream is in
}

// deploy starts Switchback with the compose file that document gives for a listener's port.
func (s *site) deploy(ctx context.Context, t topology, document func(port int) string) (*deployment, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	d := &deployment{
		site: s, topology: t, document: document(port),
		listener: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
	}
	err = d.start(ctx)
	return d, err
}

// start starts all processes, each ready before the next.
func (d *deployment) start(ctx context.Context) error {
	d.processes = nil
	natsPort := -1
	if d.nats != "" { // started before: clients know the port
		u, err := url.Parse(d.nats)
		if err != nil {
			return fmt.Errorf("read the address of NATS: %w", err)
		}
		if natsPort, err = strconv.Atoi(u.Port()); err != nil {
			return fmt.Errorf("read the port of NATS: %w", err)
		}
	}
	store := server.Args{Dir: d.site.dir, Port: natsPort}
	if d.topology.embedded {
		var started system.Started
		err := d.add(ctx, roleSystem, "switchback", system.Args{
			Embed: &store, Document: d.document, Listener: d.topology.listener, Runner: d.topology.runners > 0,
		}, &started)
		d.nats = started.NATS
		return err
	}
	var started server.Started
	if err := d.add(ctx, roleNATS, "nats-server", store, &started); err != nil {
		return err
	}
	d.nats = started.URL
	if d.topology.listener {
		args := system.Args{NATS: d.nats, Document: d.document, Listener: true}
		if err := d.add(ctx, roleSystem, "listener", args, &system.Started{}); err != nil {
			return err
		}
	}
	for i := range d.topology.runners {
		args := system.Args{NATS: d.nats, Document: d.document, Runner: true}
		if err := d.add(ctx, roleSystem, fmt.Sprintf("runner %d", i+1), args, &system.Started{}); err != nil {
			return err
		}
	}
	return nil
}

func (d *deployment) add(ctx context.Context, role, name string, args, started any) error {
	p, err := d.site.start(ctx, role, name, args, started)
	if err != nil {
		return err
	}
	if len(d.processes) == 0 {
		d.store = p
	}
	d.processes = append(d.processes, p)
	return nil
}

// kill is kill -9 of all processes.
func (d *deployment) kill() {
	for _, p := range d.processes {
		p.Kill()
	}
}

// streams tells what JetStream holds; nothing where there is no deployment.
func (d *deployment) streams(ctx context.Context) ([]server.Stream, error) {
	if d == nil {
		return nil, nil
	}
	var streams []server.Stream
	err := d.store.Call(ctx, "Streams", child.Nothing{}, &streams)
	return streams, err
}

// stored fails unless JetStream took one message for each callback that was answered 200.
func (d *deployment) stored(ctx context.Context, before []server.Stream, answered int64) error {
	after, err := d.streams(ctx)
	if err != nil {
		return err
	}
	taken := stream(after, subject.StreamWaits).Writes - stream(before, subject.StreamWaits).Writes
	if int64(taken) < answered { //nolint:gosec // a bench does not write 2^63 messages
		return fmt.Errorf("%d callbacks were answered 200, but JetStream took only %d", answered, taken)
	}
	return nil
}

func stream(streams []server.Stream, name string) server.Stream {
	for _, s := range streams {
		if s.Name == name {
			return s
		}
	}
	return server.Stream{}
}

// freePort finds a port of the loopback interface that nobody listens on.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // of a TCP listener
	return port, l.Close()
}
