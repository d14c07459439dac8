package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/switchbackhq/switchback/test/system"
)

// TestListenersKilledUnderLoad: of two listeners one after the other dies as kill -9 has it, in the middle of requests. Who
// gets no answer asks the other one; whatever was answered 200 is in the stream.
func TestListenersKilledUnderLoad(t *testing.T) {
	nats := system.StartNATS(t)
	ports := []int{system.FreePort(t), system.FreePort(t)}
	conf := func(i int) string {
		return system.Write(t, "switchback.yaml", fmt.Sprintf("listener: {host: 127.0.0.1, port: %d, path: /done, identify_by: '${body.id}'}", ports[i]))
	}
	listeners := []*system.Process{nats.Service("listener", conf(0)).Ready(), nats.Service("listener", conf(1)).Ready()}

	const senders, kills = 8, 6
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	answered := map[string]int{}
	unanswered, all := 0, make(chan struct{}, 1<<16)
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprintf("s%d-%d", i, n)
				for try := n; ctx.Err() == nil; try++ {
					status, body, err := system.Post(context.WithoutCancel(ctx), callbackURL(ports[try%2]), fmt.Sprintf(`{"id":%q}`, id))
					mu.Lock()
					switch {
					case err == nil && status == http.StatusOK:
						answered[id]++
					case err == nil:
						t.Errorf("%s: %d %s", id, status, body)
					default:
						unanswered++
					}
					mu.Unlock()
					if err == nil {
						all <- struct{}{}
						break
					}
				}
			}
		})
	}
	for k := range kills {
		for range 100 {
			<-all
		}
		listeners[k%2].Kill()
		listeners[k%2] = nats.Service("listener", conf(k%2)).Ready()
	}
	stop()
	sending.Wait()

	c := system.Connect(t, nats.URL())
	stream, err := c.JS.Stream(t.Context(), "KV_waits")
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for id, times := range answered {
		if _, err := stream.GetLastMsgForSubject(t.Context(), "callback."+id); err != nil || times != 1 {
			lost++
			t.Errorf("%s was answered 200 %d times: %v", id, times, err)
		}
	}
	t.Logf("%d answered, %d requests without an answer, %d lost", len(answered), unanswered, lost)
	if unanswered == 0 {
		t.Error("no request met a listener that was gone: nothing was tried")
	}
}
