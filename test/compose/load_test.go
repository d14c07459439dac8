package compose_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/test/system"
)

// ledger is an outside service. It counts, for each run, under how many keys it was written to: the same key twice is a
// request that was sent again, another key would be work done twice.
type ledger struct {
	URL string

	mu      sync.Mutex
	entries map[string]map[string]string // run → key → value
	again   int
}

// newLedger listens where containers reach it: on the engine's own bridge.
func newLedger(s *stack) *ledger {
	s.t.Helper()
	// The machine has the first address of it.
	subnet, err := netip.ParsePrefix(s.docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}"))
	if err != nil {
		s.t.Fatal(err)
	}
	socket, err := (&net.ListenConfig{}).Listen(s.t.Context(), "tcp", net.JoinHostPort(subnet.Masked().Addr().Next().String(), "0"))
	if err != nil {
		s.t.Skipf("containers reach no server of this test, for the engine's bridge is not on this machine: %v", err)
	}
	l := &ledger{URL: "http://" + socket.Addr().String(), entries: map[string]map[string]string{}}
	server := &http.Server{Handler: l, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(socket)
	}()
	s.t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return l
}

// ServeHTTP takes an entry.
func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var entry struct {
		Run   string `json:"run"`
		Value any    `json:"value"`
	}
	key := r.Header.Get("Idempotency-Key")
	if err := json.NewDecoder(r.Body).Decode(&entry); err != nil || entry.Run == "" || key == "" {
		http.Error(w, "an entry needs a run and a key", http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	if l.entries[entry.Run] == nil {
		l.entries[entry.Run] = map[string]string{}
	}
	if _, known := l.entries[entry.Run][key]; known {
		l.again++
	}
	l.entries[entry.Run][key] = fmt.Sprint(entry.Value)
	l.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"booked":true}`))
}

// client is an outside program: it asks for runs on NATS and calls back by the published port.
type client struct {
	s    *stack
	js   jetstream.JetStream
	http *http.Client
	base string
	runs atomic.Int64

	mu    sync.Mutex
	asked map[string]string // run → the value that it is called back with
}

func newClient(s *stack, url string) *client {
	s.t.Helper()
	nc, err := nats.Connect(url, nats.UserInfo("admin", "admin"), nats.SetCustomDialer(s), nats.SkipHostLookup(), nats.MaxReconnects(-1),
		nats.ReconnectWait(200*time.Millisecond), nats.RetryOnFailedConnect(true), nats.IgnoreDiscoveredServers())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &client{
		s: s, js: js, http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		base: fmt.Sprintf("http://127.0.0.1:%d", s.port), asked: map[string]string{},
	}
	s.t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// ask asks for a run and tries until JetStream holds the request.
func (c *client) ask(ctx context.Context) (id string, err error) {
	n := c.runs.Add(1)
	id = fmt.Sprintf("run-%d", n)
	for ctx.Err() == nil {
		m := nats.NewMsg("run.request.ledger")
		m.Header.Set("Switchback-Run-Id", id)
		m.Header.Set("Nats-Msg-Id", id)
		m.Data = fmt.Appendf(nil, `{"id":%q}`, id)
		one, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err = c.js.PublishMsg(one, m)
		cancel()
		if err == nil {
			c.mu.Lock()
			c.asked[id] = fmt.Sprint(n)
			c.mu.Unlock()
			return id, nil
		}
		pause(ctx, 50*time.Millisecond)
	}
	return "", fmt.Errorf("ask for %s: %w", id, err)
}

// call sends a run's callback once.
func (c *client) call(ctx context.Context, id string) error {
	c.mu.Lock()
	value := c.asked[id]
	c.mu.Unlock()
	return post(ctx, c.http, c.base+"/signed/"+id, fmt.Sprintf(`{"value":%q}`, value))
}

// insist sends a callback until it is taken, as outside services do.
func (c *client) insist(ctx context.Context, id string) error {
	for {
		err := c.call(ctx, id)
		if err == nil || ctx.Err() != nil {
			return err
		}
		pause(ctx, 100*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

const (
	senders = 8
	// between two runs of one sender: the load is steady, whatever the machine can do.
	every = 100 * time.Millisecond
	// atLeast is how many runs a load has at least, and atMost bounds it.
	atLeast, atMost = 50, 20000
)

// during runs f under load, and gives how many callbacks were not taken at the first try. Callbacks that fail are sent
// again unless strict is set: then the load is one where none may fail.
func (c *client) during(name string, strict bool, f func()) {
	t := c.s.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var (
		stop           = make(chan struct{})
		stopped        sync.Once
		working        sync.WaitGroup
		sent, failed   atomic.Int64
		first, problem atomic.Pointer[error]
	)
	for range senders {
		working.Go(func() {
			for ctx.Err() == nil && sent.Load() < atMost {
				select {
				case <-stop:
					if sent.Load() >= atLeast {
						return
					}
				default:
				}
				id, err := c.ask(ctx)
				if err == nil {
					if refusal := c.call(ctx, id); refusal != nil {
						failed.Add(1)
						first.CompareAndSwap(nil, &refusal)
						err = c.insist(ctx, id) // it must be taken in the end, or the count would not tell what was lost
					}
				}
				if err != nil {
					problem.CompareAndSwap(nil, &err)
					return
				}
				sent.Add(1)
				pause(ctx, every)
			}
		})
	}
	// A failing f ends this goroutine, and the senders with it.
	defer working.Wait()
	defer stopped.Do(func() { close(stop) })
	f()
	stopped.Do(func() { close(stop) })
	working.Wait()
	t.Logf("%s: %d runs, %d callbacks were not taken at once", name, sent.Load(), failed.Load())
	if p := problem.Load(); p != nil {
		t.Fatalf("%s: a callback or a request was never taken: %v", name, *p)
	}
	if n := failed.Load(); strict && n > 0 {
		t.Errorf("%s: %d of %d callbacks failed, and none may; the first: %v", name, n, sent.Load(), *first.Load())
	}
}

// count compares what was asked for with what came of it: nothing lost, nothing doubled.
func (c *client) count(l *ledger) {
	t := c.s.t
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var kv jetstream.KeyValue
	system.Eventually(t, "the run documents can be read", func() (err error) {
		kv, err = c.js.KeyValue(t.Context(), "runs")
		return err
	})
	for id, value := range c.asked {
		run := await(t, kv, id)
		sign, book := run.Jobs["sign"], run.Jobs["book"]
		if len(sign.Attempts) != 1 || sign.Attempts[0].Wait == nil || sign.Attempts[0].Wait.ResumedBy == nil || len(book.Attempts) != 1 {
			t.Errorf("run %s: %d attempts of sign, %d of book, want one, resumed once", id, len(sign.Attempts), len(book.Attempts))
		}
		if want := fmt.Sprintf(`{"value":%q}`, value); string(run.Output) != want {
			t.Errorf("run %s: output %s, want %s", id, run.Output, want)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lost, doubled, wrong := 0, 0, 0
	for id, value := range c.asked {
		keys := l.entries[id]
		switch len(keys) {
		case 0:
			lost++
		case 1:
			for _, v := range keys {
				if v != value {
					wrong++
				}
			}
		default:
			doubled++
		}
	}
	if lost+doubled+wrong > 0 || len(l.entries) != len(c.asked) {
		t.Errorf("of %d runs the outside service has missed %d, done %d twice and %d wrong; it knows %d", len(c.asked), lost, doubled, wrong, len(l.entries))
	}
	keys, err := kv.ListKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	documents := 0
	for range keys.Keys() {
		documents++
	}
	if documents < len(c.asked) {
		t.Errorf("%d run documents for %d runs", documents, len(c.asked))
	}
	dead, err := c.js.Stream(t.Context(), "DEAD")
	if err != nil {
		t.Fatal(err)
	}
	if n := dead.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d messages were given up", n)
	}
	t.Logf("counted: %d runs, each done once; %d requests were sent again with the same key", len(c.asked), l.again)
}

// await waits until a run is completed, a redelivery included, and gives its document.
func await(t *testing.T, kv jetstream.KeyValue, id string) *system.Run {
	t.Helper()
	run := &system.Run{}
	system.Eventually(t, "run "+id+" is completed", func() error {
		e, err := kv.Get(t.Context(), id)
		if err != nil {
			return err
		}
		*run = system.Run{}
		if err := json.Unmarshal(e.Value(), run); err != nil {
			return err
		}
		if run.Status != "completed" {
			return fmt.Errorf("it is %s: %s", run.Status, e.Value())
		}
		return nil
	})
	return run
}
