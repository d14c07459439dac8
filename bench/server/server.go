// Package server runs a nats-server with JetStream, as `switchback up` embeds it, and tells what its streams took.
package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// readyTime bounds the start, recovery of a large store included.
const readyTime = 2 * time.Minute

// syncInterval is what `switchback up` sets unless told otherwise; all servers here have it, so that they compare.
const syncInterval = 5 * time.Second

// Args say where a server keeps its data and on which port of the loopback interface it listens.
type Args struct {
	Dir  string
	Port int // -1: a free one
}

// Stream is what a stream holds and how much it ever took.
type Stream struct {
	Name     string
	Messages uint64
	Writes   uint64 // its last sequence: each write takes one
}

// Embedded is a running server.
type Embedded struct{ *server.Server }

// Start starts a server and returns when it is ready.
func Start(args Args) (*Embedded, error) {
	s, err := server.NewServer(&server.Options{
		ServerName: "bench", Host: "127.0.0.1", Port: args.Port, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: args.Dir, SyncInterval: syncInterval,
		NoSublistCache: true, // as `switchback up` has it, and deploy/nats
	})
	if err != nil {
		return nil, fmt.Errorf("make a nats-server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(readyTime) {
		s.Shutdown()
		return nil, errors.New("the nats-server was not ready in time")
	}
	return &Embedded{s}, nil
}

// Streams tells of all streams.
func (e *Embedded) Streams() ([]Stream, error) {
	info, err := e.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return nil, fmt.Errorf("read the streams: %w", err)
	}
	var streams []Stream
	for _, account := range info.AccountDetails {
		for i := range account.Streams {
			s := &account.Streams[i]
			streams = append(streams, Stream{Name: s.Name, Messages: s.State.Msgs, Writes: s.State.LastSeq})
		}
	}
	return streams, nil
}

// Close ends the server in order.
func (e *Embedded) Close() error {
	e.Shutdown()
	e.WaitForShutdown()
	return nil
}

// Writes is how much all of the streams took.
func Writes(streams []Stream) uint64 {
	var n uint64
	for _, s := range streams {
		n += s.Writes
	}
	return n
}
