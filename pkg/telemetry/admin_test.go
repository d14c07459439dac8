package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/supervise"
	"github.com/switchbackhq/switchback/pkg/telemetry"
)

var (
	_ supervise.Service = (*telemetry.Admin)(nil)
	_ supervise.Readier = (*telemetry.Admin)(nil)
)

// start runs a until the test ends, or stop is called; stop gives Run's error.
func start(t *testing.T, a *telemetry.Admin) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = a.Run(ctx)
	}()
	stop = func() error { cancel(); <-done; return err }
	t.Cleanup(func() { _ = stop() })
	select {
	case <-a.Ready():
	case <-done:
		t.Fatal(err)
	}
	return stop
}

// get asks without keeping the connection, and gives the status and the body.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestAdminAnswers(t *testing.T) {
	a := telemetry.NewAdmin(telemetry.AdminConfig{Addr: "127.0.0.1:0"}, telemetry.NewRegistry("listener"), nil)
	stop := start(t, a)
	url := "http://" + a.Addr()
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/healthz":      {200, `{"status":"ok"}`},
		"/readyz":       {200, `{"status":"ready"}`},
		"/metrics":      {200, `switchback_build_info{goversion="go1`},
		"/debug/pprof/": {404, ""},
		"/":             {404, ""},
	} {
		if status, body := get(t, url+path); status != want.status || !strings.Contains(body, want.body) {
			t.Errorf("%s answers %d %s, want %d with %s", path, status, body, want.status, want.body)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if _, err := net.Dial("tcp", a.Addr()); err == nil {
		t.Error("the port is still open after Run")
	}
}

func TestAdminServesProfilesWhenAsked(t *testing.T) {
	a := telemetry.NewAdmin(telemetry.AdminConfig{Addr: "127.0.0.1:0", Pprof: true}, nil, nil)
	start(t, a)
	if status, body := get(t, "http://"+a.Addr()+"/debug/pprof/"); status != 200 || !strings.Contains(body, "goroutine") {
		t.Errorf("/debug/pprof/ answers %d %s", status, body)
	}
	if status, _ := get(t, "http://"+a.Addr()+"/metrics"); status != 404 {
		t.Errorf("/metrics without a registry answers %d, want 404", status)
	}
}

func TestReadyzGivesReasons(t *testing.T) {
	ok := func(context.Context) error { return nil }
	for name, test := range map[string]struct {
		checks map[string]func(context.Context) error
		status int
		want   map[string]string
	}{
		"all ready": {
			checks: map[string]func(context.Context) error{"nats": ok, "gateway": ok},
			status: 200, want: map[string]string{"nats": "ok", "gateway": "ok"},
		},
		"one is not": {
			checks: map[string]func(context.Context) error{
				"nats": func(context.Context) error { return errors.New("not connected to nats://n:4222") }, "gateway": ok,
			},
			status: 503, want: map[string]string{"nats": "not connected to nats://n:4222", "gateway": "ok"},
		},
		"one hangs": {
			checks: map[string]func(context.Context) error{
				"nats": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "gateway": ok,
			},
			status: 503, want: map[string]string{"nats": "no answer within 2s: context deadline exceeded", "gateway": "ok"},
		},
		"one panics": {
			checks: map[string]func(context.Context) error{"nats": func(context.Context) error { panic("oh") }, "gateway": ok},
			status: 503, want: map[string]string{"nats": "the check panicked: oh", "gateway": "ok"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the two seconds pass at once
				a := telemetry.NewAdmin(telemetry.AdminConfig{}, nil, nil)
				for name, f := range test.checks {
					a.AddCheck(name, f)
				}
				w := httptest.NewRecorder()
				a.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", http.NoBody))
				var got struct {
					Status string            `json:"status"`
					Checks map[string]string `json:"checks"`
				}
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
					t.Fatal(err)
				}
				if w.Code != test.status || (got.Status == "ready") != (test.status == 200) {
					t.Errorf("readyz answers %d %s", w.Code, w.Body)
				}
				if diff := cmp.Diff(test.want, got.Checks); diff != "" {
					t.Errorf("checks (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAdminPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	_, port, _ := net.SplitHostPort(addr)

	t.Run("nobody asked for it", func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		a := telemetry.NewAdmin(telemetry.AdminConfig{Addr: addr}, nil, log)
		stop := start(t, a)
		if status, _ := get(t, "http://"+a.Addr()+"/healthz"); status != 200 || a.Addr() == addr {
			t.Errorf("healthz at %s answers %d, taken was %s", a.Addr(), status, addr)
		}
		_ = stop()
		if !strings.Contains(out.String(), "taken="+addr) || !strings.Contains(out.String(), "addr="+a.Addr()) {
			t.Errorf("the log does not say which port: %s", &out)
		}
	})
	for flag, named := range map[string]string{"": "--admin-addr", "--admin": "--admin"} {
		t.Run("asked for with "+named, func(t *testing.T) {
			a := telemetry.NewAdmin(telemetry.AdminConfig{Addr: addr, Asked: true, Flag: flag}, nil, nil)
			err := a.Run(t.Context())
			if fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), "port "+port+", asked for by "+named+", is taken") ||
				!strings.Contains(fault.HintOf(err), named) {
				t.Errorf("Run = %v (hint %q), want port and flag named", err, fault.HintOf(err))
			}
		})
	}
	for addr, code := range map[string]fault.Code{"9464": fault.Usage, "127.0.0.1:99999": fault.Unavailable, "192.0.2.1:0": fault.Unavailable} {
		a := telemetry.NewAdmin(telemetry.AdminConfig{Addr: addr}, nil, nil)
		if err := a.Run(t.Context()); fault.CodeOf(err) != code || fault.HintOf(err) == "" {
			t.Errorf("Run at %s = %v, want %s with a hint", addr, err, code)
		}
	}
}

func TestAdminFinishesWhatIsInFlight(t *testing.T) {
	a := telemetry.NewAdmin(telemetry.AdminConfig{Addr: "127.0.0.1:0"}, nil, nil)
	asked, answer := make(chan struct{}), make(chan struct{})
	a.AddCheck("slow", func(context.Context) error { close(asked); <-answer; return nil })
	stop := start(t, a)
	got := make(chan int)
	go func() {
		status, _ := get(t, "http://"+a.Addr()+"/readyz")
		got <- status
	}()
	<-asked
	stopped := make(chan error)
	go func() { stopped <- stop() }()
	for { // until the port is closed: it is stopping, and our request is still in it
		c, err := net.Dial("tcp", a.Addr())
		if err != nil {
			break
		}
		c.Close()
	}
	close(answer)
	if status := <-got; status != 200 {
		t.Errorf("the request in flight is answered %d, want 200", status)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestAdminStartsAndStopsManyTimes(t *testing.T) {
	for range 50 {
		a := telemetry.NewAdmin(telemetry.AdminConfig{Addr: "127.0.0.1:0"}, telemetry.NewRegistry("x"), nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-a.Ready()
			cancel()
		}()
		if err := supervise.Run(ctx, nil, a); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRegistryIsWellNamed(t *testing.T) {
	families, err := telemetry.NewRegistry("runner").Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	for _, f := range families {
		if f.GetName() == "switchback_build_info" {
			return
		}
	}
	t.Error("switchback_build_info is missing")
}
