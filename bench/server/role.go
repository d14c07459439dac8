package server

import (
	"context"
	"errors"
)

// Role is a nats-server in a process of its own.
type Role struct{ embedded *Embedded }

// NewRole makes a server that Start starts.
func NewRole(context.Context) *Role { return &Role{} }

// Started says where a server is.
type Started struct{ URL string }

// Start starts the server and returns when it is ready.
func (r *Role) Start(args Args, started *Started) (err error) {
	if r.embedded, err = Start(args); err != nil {
		return err
	}
	started.URL = r.embedded.ClientURL()
	return nil
}

// Streams tells of all streams.
func (r *Role) Streams(_ struct{}, streams *[]Stream) (err error) {
	if r.embedded == nil {
		return errors.New("the server was not started")
	}
	*streams, err = r.embedded.Streams()
	return err
}

// Close ends the server.
func (r *Role) Close() error {
	if r.embedded == nil {
		return nil
	}
	return r.embedded.Close()
}
