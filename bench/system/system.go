// Package system runs Switchback's services as the measured processes do: all in one with an embedded NATS, or each part in its own.
package system

import (
	"context"
	"errors"

	"github.com/switchbackhq/switchback/bench/server"
)

// Args say what a process runs.
type Args struct {
	NATS     string       // URL of the server
	Embed    *server.Args // or one in this process
	Document string       // the compose file's text
	Listener bool
	Runner   bool
}

// Started says where NATS is.
type Started struct{ NATS string }

// System is the process's role. Its methods are called by the bench.
type System struct {
	ctx      context.Context //nolint:containedctx // the life of the process; net/rpc methods are given none
	embedded *server.Embedded
}

// New makes a system that Start starts.
func New(ctx context.Context) *System { return &System{ctx: ctx} }

// Start starts what the arguments name and returns when all of it is ready.
func (s *System) Start(args Args, started *Started) error {
	return errors.New("not there yet")
}

// Streams tells of the embedded server's streams.
func (s *System) Streams(_ struct{}, streams *[]server.Stream) (err error) {
	if s.embedded == nil {
		return errors.New("NATS is not embedded in this process")
	}
	*streams, err = s.embedded.Streams()
	return err
}
