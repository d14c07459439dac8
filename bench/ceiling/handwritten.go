package ceiling

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/bench/mock"
)

// RunsPath is where the hand-written service is asked for runs; callbackPath where it is called back.
const (
	RunsPath     = "/runs"
	callbackPath = "/webhooks/done"
	flowTime     = time.Minute
)

// Flow is a run as one would write it by hand: net/http and a map in memory. Nothing survives the process, nothing is
// tried twice, nothing has a deadline of its own.
//
// With a folder it also writes what a durable flow cannot do without: the request, that it waits, the callback before that is
// answered, and the end, each acknowledged before the flow goes on: by JetStream in this process, or by a redis-server
// beside it. It never reads them.
type Flow struct {
	ctx             context.Context //nolint:containedctx // the life of the process; net/rpc methods are given none
	kept            store           // nil: nothing is written
	mockURL, ownURL string
	server          *http.Server
	client          *http.Client
	owned           sync.WaitGroup

	mu   sync.Mutex
	last int64
	runs map[string]*flowRun
}

// store keeps what happens to runs.
type store interface {
	// keep returns when it is stored.
	keep(ctx context.Context, id, what string, payload []byte) error
	close() error
}

type flowRun struct {
	called chan struct{} // closed when the callback is there
	result mock.Result
}

// Ended is what a client is told when its run has ended.
type Ended struct {
	ID     string      `json:"id"`
	Status string      `json:"status"`
	Output mock.Result `json:"output"`
}

// NewFlow makes one that Start starts.
func NewFlow(ctx context.Context) *Flow { return &Flow{ctx: ctx, runs: map[string]*flowRun{}} }

// FlowArgs say where the outside service is, and in which folder to keep what happens; none: in memory alone.
type FlowArgs struct {
	MockURL, Dir string
	Redis        bool // keep it there; else in JetStream
}

// Start listens on a free port of the loopback interface.
func (f *Flow) Start(args FlowArgs, address *Address) error {
	switch {
	case args.Redis:
		redis, err := startRedis(f.ctx, args.Dir)
		if err != nil {
			return err
		}
		f.kept = redis
	case args.Dir != "":
		publish := NewPublish(f.ctx)
		f.kept = publish
		if err := publish.Start(PublishArgs{Dir: args.Dir}, nil); err != nil {
			return err
		}
	}
	listener, err := new(net.ListenConfig).Listen(f.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	address.HostPort = listener.Addr().String()
	f.mockURL, f.ownURL = args.MockURL, "http://"+address.HostPort
	f.client = &http.Client{Timeout: flowTime, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+RunsPath, f.run)
	mux.HandleFunc("POST "+callbackPath, f.callback)
	f.server = &http.Server{Handler: mux, ReadHeaderTimeout: flowTime}
	f.owned.Go(func() { _ = f.server.Serve(listener) })
	return nil
}

// Close ends it.
func (f *Flow) Close() error {
	if f.server == nil {
		return nil
	}
	err := f.server.Close()
	f.owned.Wait()
	f.client.CloseIdleConnections()
	if f.kept != nil {
		err = errors.Join(err, f.kept.close())
	}
	return err
}

// Beside gives the processes whose CPU is this one's as well.
func (f *Flow) Beside() []int {
	if redis, ok := f.kept.(*redisStore); ok {
		return []int{redis.pid()}
	}
	return nil
}

// keep returns when what has happened to a run is stored.
func (f *Flow) keep(ctx context.Context, id, what string, data any) error {
	if f.kept == nil {
		return nil
	}
	payload, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return f.kept.keep(ctx, id, what, payload)
}

// run is the whole life of a run, within the request that asks for it.
func (f *Flow) run(w http.ResponseWriter, r *http.Request) {
	var input struct {
		Prompt string `json:"prompt"`
	}
	if err := json.NewDecoder(r.Body).Decode(&input); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	run := &flowRun{called: make(chan struct{})}
	f.mu.Lock()
	f.last++
	id := "run-" + strconv.FormatInt(f.last, 10)
	f.runs[id] = run
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.runs, id)
		f.mu.Unlock()
	}()
	err := f.keep(r.Context(), id, "asked", input)
	if err == nil {
		err = f.ask(r.Context(), mock.Task{ID: id, CallbackURL: f.ownURL + callbackPath, Prompt: input.Prompt})
	}
	if err == nil {
		err = f.keep(r.Context(), id, "waits", input)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	select {
	case <-run.called:
	case <-r.Context().Done():
		return
	}
	ended := Ended{ID: id, Status: "completed", Output: run.result}
	if err := f.keep(r.Context(), id, "ended", ended); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(ended) //nolint:errchkjson // a client that went away
}

// ask calls the outside service.
func (f *Flow) ask(ctx context.Context, task mock.Task) error {
	body, err := json.Marshal(task)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.mockURL+mock.Path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := f.client.Do(request)
	if err != nil {
		return err
	}
	var accepted struct {
		TaskID string `json:"task_id"`
	}
	err = json.NewDecoder(response.Body).Decode(&accepted)
	if response.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("the outside service answered %s", response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

// callback ends the run that it is for.
func (f *Flow) callback(w http.ResponseWriter, r *http.Request) {
	var callback mock.Callback
	if err := json.NewDecoder(r.Body).Decode(&callback); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := f.keep(r.Context(), callback.ID, "called", callback); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	f.mu.Lock()
	run := f.runs[callback.ID]
	delete(f.runs, callback.ID)
	f.mu.Unlock()
	if run != nil { // nil: called twice
		run.result = callback.Result
		close(run.called)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(answer))
}
