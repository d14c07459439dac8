package listener_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/listener"
)

func TestMain(m *testing.M) {
	bustest.Main()
	// fasthttp keeps the Date header of the whole process up to date with one goroutine.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// fake is a Publisher that keeps what it is given. publish, if set, decides.
type fake struct {
	publish func(ctx context.Context, cb *event.Callback) (bus.Ack, error)

	mu        sync.Mutex
	callbacks []event.Callback
	runs      []event.RunRequest
}

func (f *fake) PublishCallback(ctx context.Context, cb *event.Callback) (bus.Ack, error) {
	if f.publish != nil {
		if ack, err := f.publish(ctx, cb); err != nil || ack.Duplicate {
			return ack, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := *cb
	kept.Result = bytes.Clone(cb.Result) // it may be a part of the request
	kept.ID = strings.Clone(cb.ID)
	f.callbacks = append(f.callbacks, kept)
	return bus.Ack{Seq: uint64(len(f.callbacks))}, nil
}

func (f *fake) PublishRunRequest(ctx context.Context, r *event.RunRequest) (bus.Ack, error) {
	if f.publish != nil {
		if ack, err := f.publish(ctx, nil); err != nil || ack.Duplicate {
			return ack, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := *r
	kept.Input = bytes.Clone(r.Input)
	f.runs = append(f.runs, kept)
	return bus.Ack{Seq: uint64(len(f.runs))}, nil
}

func (f *fake) stored() []event.Callback {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]event.Callback(nil), f.callbacks...)
}

func document(t testing.TB, yaml string) *compose.Document {
	t.Helper()
	d, err := compose.Parse([]byte(yaml), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// service is a running Listener.
type service struct {
	t    testing.TB
	l    *listener.Listener
	urls map[string]string // by listener
	logs *syncBuffer
	reg  *prometheus.Registry

	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs a Listener until the test ends.
func start(t testing.TB, yaml string, p listener.Publisher, c listener.Config, change ...func(*listener.Deps)) *service {
	t.Helper()
	s := &service{t: t, urls: map[string]string{}, logs: &syncBuffer{}, reg: prometheus.NewRegistry(), done: make(chan struct{})}
	log := slog.New(slog.NewJSONHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d := listener.Deps{
		Bus: p, Document: document(t, yaml), Logger: log, Registry: s.reg,
		Getenv: func(name string) (string, bool) { return "secret of " + name, name == "SET" },
	}
	for _, f := range change {
		f(&d)
	}
	var err error
	s.l, err = listener.New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	go func() {
		defer close(s.done)
		s.err = s.l.Run(ctx)
	}()
	t.Cleanup(s.stop)
	select {
	case <-s.l.Ready():
	case <-s.done:
		t.Fatal(s.err)
	}
	for _, a := range s.l.Addresses() {
		s.urls[a.Listener] = a.URL
	}
	return s
}

// quietly logs nothing.
func quietly(d *listener.Deps) { d.Logger = nil }

// stop ends the service and waits for it.
func (s *service) stop() {
	s.cancel()
	<-s.done
	if s.err != nil {
		s.t.Error(s.err)
	}
}

// url of the only listener.
func (s *service) url(path string) string {
	for _, u := range s.urls {
		return u + path
	}
	s.t.Fatal("no listener")
	return ""
}

// response is an answer, read whole.
type response struct {
	status int
	header http.Header
	body   string
	last   bool // of its connection
}

// problem is an answer's problem JSON.
func (r *response) problem(t testing.TB) map[string]any {
	t.Helper()
	if ct := r.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("Content-Type of a problem is %q: %s", ct, r.body)
	}
	var p map[string]any
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
	if p["status"] != float64(r.status) || p["title"] == "" || p["detail"] == "" || p["type"] != "about:blank" {
		t.Errorf("problem %s with status %d", r.body, r.status)
	}
	return p
}

// client has connections of its own, closed when the test ends.
func client(t testing.TB) *http.Client {
	t.Helper()
	tr := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func do(t testing.TB, c *http.Client, r *http.Request) *response {
	t.Helper()
	res, err := try(c, r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func try(c *http.Client, r *http.Request) (*response, error) {
	res, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	return &response{res.StatusCode, res.Header, string(body), res.Close}, errors.Join(err, res.Body.Close())
}

func newRequest(t testing.TB, method, url, body string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// post sends JSON.
func (s *service) post(path, body string, header ...string) *response {
	s.t.Helper()
	return do(s.t, client(s.t), newRequest(s.t, "POST", s.url(path), body, header...))
}

// raw is a plain connection to the only listener.
func (s *service) raw() net.Conn {
	s.t.Helper()
	var d net.Dialer
	c, err := d.DialContext(s.t.Context(), "tcp", s.l.Addresses()[0].Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// exchange sends bytes and reads one answer.
func (s *service) exchange(c net.Conn, text string) *response {
	s.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		s.t.Fatal(err)
	}
	return s.read(c)
}

func (s *service) read(c net.Conn) *response {
	s.t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return &response{res.StatusCode, res.Header, string(body), res.Close}
}

// nothing is a Fetcher that nobody answers.
type nothing struct{}

func (nothing) Fetch(context.Context, string) ([]byte, error) { return nil, errors.New("no way there") }

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
