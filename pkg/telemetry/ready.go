package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// readiness is the answer of /readyz: of each check "ok", or the reason why not.
type readiness struct {
	Status string            `json:"status"` // ready, not_ready, draining
	Checks map[string]string `json:"checks,omitempty"`
}

// readyz answers 200 when every check is content and nothing is stopping, else 503 with the reasons.
func (a *Admin) readyz(w http.ResponseWriter, r *http.Request) {
	answer := a.readiness(r.Context())
	status := http.StatusOK
	if answer.Status != "ready" {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, answer)
}

// readiness asks all checks at once.
func (a *Admin) readiness(ctx context.Context) readiness {
	a.mu.Lock()
	checks := slices.Clone(a.checks)
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()

	reasons := make([]error, len(checks))
	var asked sync.WaitGroup
	for i, c := range checks {
		asked.Go(func() { reasons[i] = c.ask(ctx) })
	}
	asked.Wait()

	answer := readiness{Status: "ready", Checks: map[string]string{}}
	if a.draining.Load() {
		answer.Status = "draining"
	}
	for i, c := range checks {
		switch err := reasons[i]; {
		case err == nil:
			answer.Checks[c.name] = "ok"
			continue
		case errors.Is(err, context.DeadlineExceeded):
			answer.Checks[c.name] = "no answer within " + checkTimeout.String() + ": " + err.Error()
		default:
			answer.Checks[c.name] = err.Error()
		}
		if answer.Status == "ready" {
			answer.Status = "not_ready"
		}
	}
	return answer
}

// ask asks c. A panic is a reason too: it must not end the process because somebody asked how it is.
func (c check) ask(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the check panicked: %v", v)
		}
	}()
	return c.f(ctx)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that went away is no matter
}
