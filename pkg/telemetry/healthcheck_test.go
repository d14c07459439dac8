package telemetry_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/telemetry"
)

func TestReadyURLIsOnThisMachine(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:9464":   "http://127.0.0.1:9464/readyz",
		"0.0.0.0:9465":     "http://127.0.0.1:9465/readyz",
		":9466":            "http://127.0.0.1:9466/readyz",
		"[::]:9467":        "http://127.0.0.1:9467/readyz",
		"10.1.2.3:9467":    "http://10.1.2.3:9467/readyz",
		"listener:9464":    "http://listener:9464/readyz",
		"no port":          "",
		"[2001:db8::1]:80": "http://[2001:db8::1]:80/readyz",
	} {
		got, err := telemetry.ReadyURL(addr)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ReadyURL(%q) = %q, %v, want %q", addr, got, err, want)
		}
	}
}

func TestHealthcheckTellsWhyNot(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ready" {
			return
		}
		http.Error(w, `{"status":"not_ready"}`, http.StatusServiceUnavailable)
	}))
	if err := telemetry.Healthcheck(t.Context(), s.URL+"/ready"); err != nil {
		t.Errorf("200 is not healthy: %v", err)
	}
	err := telemetry.Healthcheck(t.Context(), s.URL+"/readyz")
	if err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "not_ready") {
		t.Errorf("503 gives %v, which should name the status and quote the reason", err)
	}
	s.Close()
	if err := telemetry.Healthcheck(t.Context(), s.URL); err == nil {
		t.Error("nobody there is healthy")
	} else if errors.Unwrap(err) == nil {
		t.Errorf("the cause is lost: %v", err)
	}
}
