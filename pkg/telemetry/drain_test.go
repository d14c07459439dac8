package telemetry_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

// TestNotReadyBeforeAnythingStops: a load balancer has the delay to see it, and what it still sends is taken.
func TestNotReadyBeforeAnythingStops(t *testing.T) {
	const delay = 7 * time.Second
	synctest.Test(t, func(t *testing.T) {
		a := telemetry.NewAdmin(telemetry.AdminConfig{}, nil, nil)
		a.AddCheck("nats", func(context.Context) error { return nil })
		readyz := func() (int, string) {
			w := httptest.NewRecorder()
			a.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", http.NoBody))
			return w.Code, strings.TrimSpace(w.Body.String())
		}
		var told atomic.Pointer[time.Time]
		work := supervise.Func("work", func(ctx context.Context) error {
			<-ctx.Done()
			now := time.Now()
			told.Store(&now)
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- supervise.Run(ctx, nil, work, telemetry.NewDrain(a, delay)) }()
		synctest.Wait()
		if status, body := readyz(); status != http.StatusOK {
			t.Errorf("before: %d %s", status, body)
		}
		cancel()
		began := time.Now()
		synctest.Wait()
		if status, body := readyz(); status != http.StatusServiceUnavailable || body != `{"status":"draining","checks":{"nats":"ok"}}` {
			t.Errorf("draining: %d %s", status, body)
		}
		if told.Load() != nil {
			t.Error("the work was told to stop at once")
		}
		err := <-stopped
		if after := told.Load().Sub(began); err != nil || after != delay {
			t.Errorf("told to stop after %v, %v", after, err)
		}
	})
}

func TestWithoutADelayNothingWaits(t *testing.T) {
	a := telemetry.NewAdmin(telemetry.AdminConfig{}, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := telemetry.NewDrain(a, 0).Run(ctx); err != nil {
		t.Error(err)
	}
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", http.NoBody))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("readyz answers %d", w.Code)
	}
}
