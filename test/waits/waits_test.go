package waits_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/services/runner/wait"
)

func ours(b *bus.Bus, _ jetstream.JetStream) protocol { return wait.New(b) }

// No callback is lost and no run goes on twice.
func TestWaits(t *testing.T) {
	for name, replicas := range map[string]int{"R1": 1, "R3": 3} {
		t.Run(name, func(t *testing.T) {
			n := min(*ids, underRace)
			l := newLab(t, replicas, ours)
			began := time.Now()
			lost, doubled := l.play(n)
			d := time.Since(began)
			t.Logf("%d ids in %.1f s (%.0f/s), %d with the callback first", n, d.Seconds(), float64(n)/d.Seconds(), l.early.Load())
			if len(lost) > 0 || len(doubled) > 0 {
				t.Errorf("lost %d: %v, doubled %d: %v", len(lost), lost[:min(5, len(lost))], len(doubled), doubled[:min(5, len(doubled))])
			}
			if early := l.early.Load(); early == 0 || early >= int64(n) {
				t.Errorf("the callback was first for %d of %d: there is no race between them", early, n)
			}
		})
	}
}
