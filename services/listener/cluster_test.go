package listener_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/listener"
)

// TestLeaderLostUnderLoad: the stream's leader is stopped while callbacks come in. Whatever was answered 200 is in the
// stream afterwards, and callbacks are taken again without a restart.
func TestLeaderLostUnderLoad(t *testing.T) {
	nodes := bustest.Cluster(t, 3)
	nodes.Provisioned(bus.Layout{})
	leader := nodes.Leader(subject.StreamWaits)
	// Connected to all: the connection moves on when its node goes.
	b := bustest.Connect(t, bus.Options{URL: nodes.URL(), PublishTimeout: 2 * time.Second})
	s := start(t, natsHooks, b, listener.Config{})
	c := client(t)

	const senders = 8
	var (
		mu      sync.Mutex
		taken   = map[string]bool{}
		putOff  int
		stopped = make(chan struct{})
		sending sync.WaitGroup
	)
	for i := range senders {
		sending.Go(func() {
			after := 0 // taken since the leader has gone
			for n := 0; after < 20; n++ {
				gone := false
				select {
				case <-stopped:
					gone = true
				default:
				}
				id := fmt.Sprintf("s%d-%d", i, n)
				r, err := try(c, newRequest(t, "POST", s.url("/done"), `{"id":"`+id+`"}`))
				mu.Lock()
				switch {
				case err == nil && r.status == 200:
					taken[id] = true
					if gone {
						after++
					}
				case err == nil && r.status == 503:
					putOff++
				default:
					t.Errorf("%s: %+v (%v)", id, r, err)
					after = 20
				}
				mu.Unlock()
			}
		})
	}
	s.await(`switchback_listener_requests_total{endpoint="/done",verdict="accepted"}`, atLeast(200))
	nodes.Servers[leader].Stop()
	close(stopped)
	sending.Wait()
	lost := 0
	for id := range taken {
		if len(stored(t, b, id)) == 0 {
			lost++
			t.Errorf("%s was answered 200 and is not stored", id)
		}
	}
	t.Logf("%d taken, %d put off, %d lost", len(taken), putOff, lost)
}
