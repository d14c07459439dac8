package load

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sleeper takes a time for each, on the bubble's clock.
type sleeper struct {
	takes func(n int64) time.Duration
	fails func(n int64) bool
}

func (s *sleeper) do(_ context.Context, n int64) (time.Duration, error) {
	if s.fails != nil && s.fails(n) {
		return 0, errors.New("it broke")
	}
	time.Sleep(s.takes(n)) //nolint:forbidigo // on a bubble's clock
	return s.takes(n) / 2, nil
}

func (s *sleeper) close() error { return nil }

func evenly(d time.Duration) func(int64) time.Duration {
	return func(int64) time.Duration { return d }
}

func TestRun(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name   string
		plan   Plan
		worker sleeper
		want   Result
	}{
		{
			"a count bounds it",
			Plan{AtOnce: 4, Count: 10},
			sleeper{takes: evenly(10 * ms)},
			Result{Done: 10, Elapsed: 30 * ms, Whole: Quantiles{10 * ms, 10 * ms, 10 * ms}, Tail: Quantiles{5 * ms, 5 * ms, 5 * ms}},
		},
		{
			"a duration bounds it, and what was begun is finished",
			Plan{AtOnce: 2, Duration: 25 * ms},
			sleeper{takes: evenly(10 * ms)},
			Result{Done: 6, Elapsed: 30 * ms, Whole: Quantiles{10 * ms, 10 * ms, 10 * ms}, Tail: Quantiles{5 * ms, 5 * ms, 5 * ms}},
		},
		{
			"at a rate",
			Plan{AtOnce: 4, Duration: time.Second, Rate: 100},
			sleeper{takes: evenly(10 * ms)},
			Result{Done: 100, Elapsed: time.Second, Whole: Quantiles{10 * ms, 10 * ms, 10 * ms}, Tail: Quantiles{5 * ms, 5 * ms, 5 * ms}},
		},
		{
			// The first of one a millisecond stalls for 50 ms: the 50 behind it were late too, and are counted so.
			"a stall is seen in all that it delays",
			Plan{AtOnce: 1, Count: 51, Rate: 1000},
			sleeper{takes: func(n int64) time.Duration {
				if n == 1 {
					return 50 * ms
				}
				return 0
			}},
			Result{Done: 51, Elapsed: 50 * ms, Whole: Quantiles{25 * ms, 50 * ms, 50 * ms}, Tail: Quantiles{0, 25 * ms, 25 * ms}},
		},
		{
			"failures are counted apart",
			Plan{AtOnce: 1, Count: 4},
			sleeper{takes: evenly(10 * ms), fails: func(n int64) bool { return n == 2 }},
			Result{
				Done: 3, Failed: 1, Failure: "it broke", Elapsed: 30 * ms,
				Whole: Quantiles{10 * ms, 10 * ms, 10 * ms}, Tail: Quantiles{5 * ms, 5 * ms, 5 * ms},
			},
		},
		{
			"a load that only fails ends early",
			Plan{AtOnce: 1, Count: 1 << 40},
			sleeper{fails: func(int64) bool { return true }},
			Result{Failed: maxFailures, Failure: "it broke"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				workers := make([]worker, tt.plan.AtOnce)
				for i := range workers {
					workers[i] = &tt.worker
				}
				var next atomic.Int64
				if got := run(t.Context(), tt.plan, workers, &next); got != tt.want {
					t.Errorf("got  %+v\nwant %+v", got, tt.want)
				}
			})
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 95*time.Millisecond)
		defer cancel()
		w := &sleeper{takes: evenly(10 * time.Millisecond)}
		var next atomic.Int64
		got := run(ctx, Plan{AtOnce: 1, Duration: time.Hour}, []worker{w}, &next)
		if got.Done != 9 || got.Failed != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestCallbackBody(t *testing.T) {
	for _, size := range []int{256, 2048} {
		body, digits, err := callbackBody(size)
		if err != nil || len(body) != size {
			t.Fatalf("%d bytes: got %d, error %v", size, len(body), err)
		}
		putNumber(body[digits:digits+idDigits], 4711)
		var got struct {
			TaskID string          `json:"task_id"`
			Status string          `json:"status"`
			Result json.RawMessage `json:"result"`
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if got.TaskID != CallbackID(4711) || got.Status != "completed" || len(got.Result) != len(CallbackResult) {
			t.Errorf("%d bytes: %+v", size, got)
		}
	}
	if _, _, err := callbackBody(10); err == nil {
		t.Error("no error for a body that is too small for its fields")
	}
}

func TestPoster(t *testing.T) {
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies = append(bodies, string(body))
		if strings.Contains(string(body), "000000000003") {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, "taken")
	}))
	defer server.Close()

	p := newPoster(server.Listener.Addr().String(), "/x", []byte(`{"id":"000000000000"}`), 7, http.StatusOK, func(body []byte) (time.Duration, error) {
		return time.Duration(len(body)), nil
	})
	for n := int64(1); n <= 2; n++ {
		if tail, err := p.do(t.Context(), n); err != nil || tail != time.Duration(len("taken")) {
			t.Errorf("post %d: %v, %v", n, tail, err)
		}
	}
	if _, err := p.do(t.Context(), 3); err == nil || !strings.Contains(err.Error(), "answered 503, not 200: taken") {
		t.Errorf("error %v", err)
	}
	if _, err := p.do(t.Context(), 4); err != nil { // on a connection of its own
		t.Errorf("after a failure: %v", err)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
	want := `{"id":"000000000001"} {"id":"000000000002"} {"id":"000000000003"} {"id":"000000000004"}`
	if got := strings.Join(bodies, " "); got != want {
		t.Errorf("posted %s", got)
	}
}

func TestRunIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, prefix := range []string{"bench", "parked", "probe"} {
		for _, n := range []int64{0, 1, 4711, 1 << 40} {
			id := runID(prefix, n)
			got, ok := runNumber(prefix, id)
			if got != n || !ok || seen[id] {
				t.Errorf("%s %d: %s is read as %d, %t", prefix, n, id, got, ok)
			}
			seen[id] = true
			if _, ok := runNumber("other", id); ok {
				t.Errorf("%s is taken for another load's", id)
			}
		}
	}
	if _, ok := runNumber("bench", "bench-12"); ok {
		t.Error("bench-12 is no ULID")
	}
}
