//go:build !race

package waits_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

// The same harness catches the obvious protocol, on three servers: put the wait, then look for the callback; and on the other
// side take the callback, then look for the wait; with the reads that a KV client makes.
func TestNaiveProtocolLoses(t *testing.T) {
	l := newLab(t, 3, func(b *bus.Bus, js jetstream.JetStream) protocol {
		s, err := js.Stream(t.Context(), subject.StreamWaits)
		if err != nil {
			t.Fatal(err)
		}
		return &naive{b: b, stream: s}
	})
	const each, rounds = 2000, 50
	for round := range rounds {
		lost, doubled := l.play(each)
		if len(doubled) > 0 {
			t.Errorf("doubled: %v", doubled)
		}
		if len(lost) > 0 {
			t.Logf("lost %d of %d in round %d", len(lost), each, round+1)
			return
		}
	}
	t.Errorf("nothing was lost in %d ids: the harness would not notice a broken protocol", each*rounds)
}

// naive is that protocol.
type naive struct {
	b      *bus.Bus
	stream jetstream.Stream
}

func (n *naive) Park(ctx context.Context, w event.Wait, _ wait.Options) ([]*event.Callback, error) {
	_, err := n.b.Publish(ctx, &bus.Message{Subject: subject.Wait(w.ID), Data: encode(w), Expect: &bus.Expect{}})
	if err != nil && !errors.Is(err, bus.ErrConflict) {
		return nil, err
	}
	m, err := n.read(ctx, subject.Callback(w.ID))
	if err != nil || m == nil {
		return nil, err
	}
	return []*event.Callback{{ID: w.ID, Seq: m.Sequence}}, nil
}

func (n *naive) Look(ctx context.Context, cb *event.Callback) (f wait.Found, err error) {
	m, err := n.read(ctx, subject.Wait(cb.ID))
	if err != nil || m == nil {
		return f, err
	}
	if m.Header.Get("KV-Operation") != "" {
		return wait.Found{Mark: new(event.Wait)}, nil
	}
	f.Wait = new(event.Wait)
	return f, json.Unmarshal(m.Data, f.Wait)
}

func (n *naive) End(ctx context.Context, w event.Wait, _ uint64) error {
	_, err := n.b.Publish(ctx, &bus.Message{Subject: subject.Wait(w.ID), Header: bus.Header{"KV-Operation": "PURGE"}, Rollup: true})
	return err
}

// read is what jetstream.KeyValue.Get does.
func (n *naive) read(ctx context.Context, subj string) (*jetstream.RawStreamMsg, error) {
	m, err := n.stream.GetLastMsgForSubject(ctx, subj)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return m, err
}
