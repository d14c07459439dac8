// Package painter is an outside service to try Switchback with: it takes an order for a picture, answers at once,
// works for about a second, and reports to the caller's URL how far it is and what came of it.
package painter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Limits: the service is for trying things out.
const (
	maxBody         = 64 << 10
	maxOrders       = 1000 // at once
	callTimeout     = 5 * time.Second
	progressCalls   = 2  // a report of progress is sent no more often: the next one comes soon
	finalCalls      = 20 // the last report, for half a minute
	maxPause        = 2 * time.Second
	shutdownTimeout = 5 * time.Second
)

// stages are what a picture goes through, one a step.
var stages = []string{
	"stretching the canvas", "sketching", "mixing colours", "painting the sky", "painting the ground",
	"adding light", "adding shadow", "the fine brush", "signing", "drying",
}

// Config says where the service listens and how long it works.
type Config struct {
	Addr string        // host:port; port 0 is a free one
	Step time.Duration // a tenth of the work; 0 is 100 ms
}

// Painter is the service. It is a supervise.Service.
type Painter struct {
	config Config
	log    *slog.Logger
	ready  chan struct{}
	calls  *http.Client

	mu     sync.Mutex
	addr   string
	orders map[string]string // Idempotency-Key → order
	active int
	next   int
	works  sync.WaitGroup
}

// New makes a Painter, which runs once.
func New(config Config, log *slog.Logger) *Painter {
	if config.Step == 0 {
		config.Step = 100 * time.Millisecond
	}
	return &Painter{
		config: config, log: log, ready: make(chan struct{}), orders: map[string]string{},
		calls: &http.Client{Timeout: callTimeout, Transport: &http.Transport{}},
	}
}

// Name is "painter".
func (p *Painter) Name() string { return "painter" }

// Ready is closed when the service answers.
func (p *Painter) Ready() <-chan struct{} { return p.ready }

// URL is where the service answers, once it is ready.
func (p *Painter) URL() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return "http://" + p.addr
}

// Run serves until ctx ends. Pictures that are not finished then never are: that is what outside services do.
func (p *Painter) Run(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.config.Addr)
	if err != nil {
		return fmt.Errorf("listen for orders: %w", err)
	}
	p.mu.Lock()
	p.addr = listener.Addr().String()
	p.mu.Unlock()

	work, quit := context.WithCancel(ctx)
	defer quit()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /pictures", func(w http.ResponseWriter, r *http.Request) { p.order(work, w, r) })
	mux.HandleFunc("POST /frames", frame)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: callTimeout, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	close(p.ready)
	select {
	case err = <-served:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		err = server.Shutdown(grace)
		<-served // always http.ErrServerClosed after Shutdown
	}
	quit()
	p.works.Wait()
	p.calls.CloseIdleConnections()
	if err != nil {
		return fmt.Errorf("serve orders: %w", err)
	}
	return nil
}

// order is what a caller asks for.
type order struct {
	Prompt      string `json:"prompt"`
	Size        string `json:"size"` // WIDTHxHEIGHT
	CallbackURL string `json:"callback_url"`
	Reference   string `json:"reference"` // the caller's own id, given back in each report
}

// report is what is sent to the callback URL.
type report struct {
	Order     string   `json:"order"`
	Reference string   `json:"reference"`
	State     string   `json:"state"` // painting, finished, failed
	Percent   int      `json:"percent"`
	Note      string   `json:"note,omitempty"`
	Picture   *picture `json:"picture,omitempty"`
}

type picture struct {
	URL    string `json:"url"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

func (p *Painter) order(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&o); err != nil {
		refuse(w, http.StatusBadRequest, "the order is not JSON: "+err.Error())
		return
	}
	if o.Prompt == "" || o.CallbackURL == "" {
		refuse(w, http.StatusUnprocessableEntity, "an order needs a prompt and a callback_url")
		return
	}
	if o.Size == "" {
		o.Size = "512x512"
	}
	var pic picture
	if n, err := fmt.Sscanf(o.Size, "%dx%d", &pic.Width, &pic.Height); n != 2 || err != nil {
		refuse(w, http.StatusUnprocessableEntity, "size is WIDTHxHEIGHT, not "+o.Size)
		return
	}
	id, isNew, ok := p.take(r.Header.Get("Idempotency-Key"))
	if !ok {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "too many orders at once")
		return
	}
	if isNew {
		pic.URL = "http://" + r.Host + "/pictures/" + id + ".png" // where the caller has found us
		p.works.Go(func() {
			defer p.done()
			p.paint(ctx, id, o, pic)
		})
	}
	answer(w, http.StatusAccepted, map[string]string{"order": id, "state": "accepted"})
}

// take gives an order's number. The same key gets the same number again, and no second picture.
func (p *Painter) take(key string) (id string, isNew, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id, known := p.orders[key]; known && key != "" {
		return id, false, true
	}
	if p.active == maxOrders {
		return "", false, false
	}
	p.active++
	p.next++
	id = fmt.Sprintf("picture-%d", p.next)
	if key != "" {
		p.orders[key] = id
	}
	return id, true, true
}

func (p *Painter) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
}

// paint works and reports. A prompt that begins with "fail" comes to nothing halfway, for trying that out.
func (p *Painter) paint(ctx context.Context, id string, o order, pic picture) {
	rep := report{Order: id, Reference: o.Reference, State: "painting"}
	for i, stage := range stages {
		rep.Percent, rep.Note = i*100/len(stages), stage
		if i > 0 {
			p.send(ctx, o.CallbackURL, rep)
		}
		if !pause(ctx, p.config.Step) {
			return
		}
		if i == len(stages)/2 && strings.HasPrefix(o.Prompt, "fail") {
			rep.State, rep.Note = "failed", "the paint ran out"
			p.send(ctx, o.CallbackURL, rep)
			return
		}
	}
	rep.State, rep.Percent, rep.Note, rep.Picture = "finished", 100, "", &pic
	p.send(ctx, o.CallbackURL, rep)
}

// send reports. One that is not taken is sent again: the caller may be starting anew.
func (p *Painter) send(ctx context.Context, url string, rep report) {
	calls := finalCalls
	if rep.State == "painting" {
		calls = progressCalls
	}
	body, err := json.Marshal(rep)
	if err != nil {
		p.log.Error("cannot write a report", slog.Any("error", err))
		return
	}
	wait := p.config.Step
	for range calls {
		if err = p.post(ctx, url, body); err == nil || ctx.Err() != nil || !pause(ctx, wait) {
			return
		}
		wait = min(2*wait, maxPause)
	}
	p.log.Warn("a report was not taken", slog.String("order", rep.Order), slog.String("url", url), slog.Any("error", err))
}

func (p *Painter) post(ctx context.Context, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the report's request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.calls.Do(req)
	if err != nil {
		return fmt.Errorf("send the report: %w", err)
	}
	if err := resp.Body.Close(); err != nil {
		return fmt.Errorf("read the answer to the report: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	return nil
}

// frame is the part of the service that answers with its result at once.
func frame(w http.ResponseWriter, r *http.Request) {
	var o struct {
		Picture string `json:"picture"`
		Style   string `json:"style"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&o); err != nil || o.Picture == "" {
		refuse(w, http.StatusUnprocessableEntity, "a frame needs a picture")
		return
	}
	answer(w, http.StatusOK, map[string]string{"url": strings.TrimSuffix(o.Picture, ".png") + "-framed.png", "style": o.Style})
}

func refuse(w http.ResponseWriter, status int, why string) {
	answer(w, status, map[string]string{"error": why})
}

func answer(w http.ResponseWriter, status int, v map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that went away is no matter
}

// pause waits, and tells whether there is still something to do.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
