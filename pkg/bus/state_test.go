package bus_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

func TestBacklog(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, _ string) {
		t.Helper()
		backlog := func() bus.Backlog {
			l, err := b.Backlog(t.Context(), subject.StreamWaits, subject.ConsumerRunner)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		if d := cmp.Diff(bus.Backlog{}, backlog()); d != "" {
			t.Errorf("with nothing there (-want +got):\n%s", d)
		}
		publish(t, b, &bus.Message{Subject: "$KV.waits.x"}) // not for the consumer
		first := publish(t, b, &bus.Message{Subject: "timeout.a"})
		publish(t, b, &bus.Message{Subject: "callback.b"})
		at, err := b.At(t.Context(), subject.StreamWaits, first.Seq)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "two are pending", func() bool { return cmp.Equal(bus.Backlog{Pending: 2, Oldest: at.Time}, backlog()) })

		held, end := make(chan struct{}, 2), make(chan struct{})
		stop := consuming(t, b, subject.StreamWaits, 1, func(_ context.Context, d *bus.Delivery) {
			held <- struct{}{}
			<-end
			_ = d.Ack()
		})
		<-held
		eventually(t, "one is worked on", func() bool { l := backlog(); return l.Pending == 1 && l.Unacknowledged == 1 && l.Oldest.After(at.Time) })
		close(end)
		eventually(t, "all is done", func() bool { return cmp.Equal(bus.Backlog{}, backlog()) })
		stop()

		h, err := b.Holding(t.Context(), subject.StreamWaits)
		if err != nil || h.Messages != 3 || h.Bytes == 0 {
			t.Errorf("the stream holds %+v, %v, want 3 messages", h, err)
		}
		_, err = b.Holding(t.Context(), "NONE")
		wantCode(t, err, fault.Unavailable)
		_, err = b.Backlog(t.Context(), subject.StreamWaits, "none")
		if err == nil {
			t.Error("a consumer that is not there has a backlog")
		}
	})
}

func TestStatsCountWhatWasNotTaken(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{})
	none := map[string]uint64{"unavailable": 0, "too_large": 0, "forbidden": 0, "invalid": 0, "abandoned": 0}
	publish(t, b, &bus.Message{Subject: "callback.a"})
	if _, err := b.Publish(t.Context(), &bus.Message{Subject: "callback.a", Expect: &bus.Expect{}}); err == nil {
		t.Fatal("the condition was met")
	}
	if d := cmp.Diff(bus.Stats{Connected: true, PublishFailures: none}, b.Stats()); d != "" {
		t.Errorf("a conflict is no failure (-want +got):\n%s", d)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for want, try := range map[string]func() error{
		"too_large": func() error {
			_, err := b.Publish(t.Context(), &bus.Message{Subject: "callback.a", Data: make([]byte, 2<<20)})
			return err
		},
		"unavailable": func() error {
			_, err := b.Publish(t.Context(), &bus.Message{Subject: "nobody.takes.this"})
			return err
		},
		"invalid": func() error {
			_, err := b.Publish(t.Context(), &bus.Message{Subject: ""})
			return err
		},
		"abandoned": func() error {
			_, err := b.Publish(ended, &bus.Message{Subject: "callback.a"})
			return err
		},
	} {
		if err := try(); err == nil {
			t.Errorf("%s: it was taken", want)
		}
		if n := b.Stats().PublishFailures[want]; n != 1 {
			t.Errorf("%s is counted %d times: %v", want, n, b.Stats().PublishFailures)
		}
	}
	s.Restart()
	eventually(t, "connected again", func() bool { return b.Stats().Connected && b.Stats().Reconnects == 1 })
}
