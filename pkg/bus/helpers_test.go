package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

const patience = time.Minute

// eventually asks until ok, and fails the test after a while.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	bustest.Eventually(t, what, ok)
}

// foreign is another client of the same server: plain nats.go.
func foreign(t *testing.T, url string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatalf("jetstream: %v", err)
	}
	return nc, js
}

// everywhere runs a test on one server and on three.
func everywhere(t *testing.T, f func(t *testing.T, b *bus.Bus, url string)) {
	t.Helper()
	t.Run("R1", func(t *testing.T) {
		s := bustest.Start(t)
		f(t, s.Provisioned(bus.Layout{}), s.URL())
	})
	t.Run("R3", func(t *testing.T) {
		c := bustest.Cluster(t, 3)
		f(t, c.Provisioned(bus.Layout{}), c.URL())
	})
}

func publish(t *testing.T, b *bus.Bus, m *bus.Message) bus.Ack {
	t.Helper()
	a, err := b.Publish(t.Context(), m)
	if err != nil {
		t.Fatalf("publish on %s: %v", m.Subject, err)
	}
	return a
}

func wantCode(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != code {
		t.Fatalf("error %v has code %q, want %q", err, got, code)
	}
}

// stored gives the last message on a subject of the stream of waits, nil for none.
func stored(t *testing.T, b *bus.Bus, subj string) *bus.Stored {
	t.Helper()
	m, err := b.Last(t.Context(), subject.StreamWaits, subj)
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatalf("read %s: %v", subj, err)
	}
	return m
}

// upAgain waits until the bus takes messages again.
func upAgain(t *testing.T, b *bus.Bus) {
	t.Helper()
	eventually(t, "ready again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return b.Ready(ctx) == nil
	})
}
