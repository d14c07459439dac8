package system

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Outside is an outside service: it takes requests, answers 202, and calls back when the test says so.
type Outside struct {
	*httptest.Server

	mu    sync.Mutex
	calls []Call
	// Hold, when set before the first request, is called before a request is answered.
	Hold func(c Call)
}

// Call is a request to the outside service.
type Call struct {
	Key  string         // Idempotency-Key
	Body map[string]any // as sent
}

// StartOutside runs an outside service until the test ends.
func StartOutside(t testing.TB) *Outside {
	t.Helper()
	o := &Outside{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		c := Call{Key: r.Header.Get("Idempotency-Key")}
		_ = json.Unmarshal(data, &c.Body)
		o.mu.Lock()
		o.calls = append(o.calls, c)
		hold := o.Hold
		o.mu.Unlock()
		if hold != nil {
			hold(c)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_ = json.NewEncoder(w).Encode(map[string]any{"task": c.Key, "accepted": true})
	}))
	t.Cleanup(o.Close)
	return o
}

// Calls are the requests so far.
func (o *Outside) Calls() []Call {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Call(nil), o.calls...)
}
