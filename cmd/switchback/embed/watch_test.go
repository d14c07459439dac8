package embed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// A stream that has met a full disk takes nothing more from its server. /dev/full stands in for the disk.
func TestAServerThatMetAFullDiskIsStartedAgain(t *testing.T) {
	dir := t.TempDir()
	s := begin(t, options(dir, 0))
	defer stop(t, s)
	s.every = 10 * time.Millisecond
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.MaxReconnects(-1), nats.ReconnectWait(s.every))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var streams []jetstream.Stream
	for _, name := range []string{"FULL", "OTHER"} {
		stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, js, name+".before", name)
		streams = append(streams, stream)
	}
	// A stream goes on in a file of its own when one has about 8 MB, and this one is on the full disk.
	blocks := filepath.Join(dir, "jetstream", "$G", "streams", "FULL", "msgs")
	if err := os.Symlink("/dev/full", filepath.Join(blocks, "2.blk")); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 5<<20)
	publish(t, js, "FULL.large", large)
	if err := s.Healthy(t.Context()); err != nil {
		t.Fatalf("at first: %v", err)
	}
	lost := make(chan error, 1)
	nc.SetDisconnectErrHandler(func(*nats.Conn, error) {
		select {
		case lost <- s.Healthy(t.Context()):
		default:
		}
	})
	if err := try(t.Context(), js, "FULL.refused", large); err == nil {
		t.Fatal("a message was stored on a full disk")
	}
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-watched; err != nil {
			t.Error(err)
		}
	}()
	var why error
	select {
	case why = <-lost:
	case <-time.After(time.Minute):
		t.Fatal("it was not started again")
	}
	if why == nil || !strings.Contains(why.Error(), "NATS cannot store in "+dir) || !strings.Contains(fault.HintOf(why), "make room") {
		t.Errorf("it was started again because of: %v (%s)", why, fault.HintOf(why))
	}
	if err := os.Remove(filepath.Join(blocks, "2.blk")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for until := time.Now().Add(time.Minute); try(t.Context(), js, "FULL.after", "") != nil; { // refused until the server is there again
		if time.Now().After(until) {
			t.Fatal("no message is stored any more")
		}
	}
	if err := s.Healthy(t.Context()); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
	for i, subject := range []string{"FULL.before", "OTHER.before"} {
		if m, err := streams[i].GetLastMsgForSubject(t.Context(), subject); err != nil || string(m.Data)+".before" != subject {
			t.Errorf("what was stored before: %v, %v", m, err)
		}
	}
}

func publish(t *testing.T, js jetstream.JetStream, subject, data string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := js.Publish(ctx, subject, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// try gives up soon: what is asked of a server that is being stopped is never answered.
func try(ctx context.Context, js jetstream.JetStream, subject, data string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := js.Publish(ctx, subject, []byte(data)); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}
