// Package mock is the outside service that the benches' runs ask: it answers 202 and calls back, at once, a little later or when told to.
// The ceiling and Switchback are measured against the same one.
package mock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Path is where the service takes its tasks.
const Path = "/generate"

const (
	callers    = 64   // callbacks at once
	tries      = 1000 // of one callback, a pause apart
	pause      = 10 * time.Millisecond
	answerTime = 30 * time.Second
)

// Task is what the service is asked to do.
type Task struct {
	ID          string `json:"id"`
	CallbackURL string `json:"callback_url"`
	Prompt      string `json:"prompt"`
	// Hold keeps the callback back until Release.
	Hold bool `json:"hold"`
}

// Callback is what it calls back with.
type Callback struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Result Result `json:"result"`
}

// Result is what the service made. SentAt (nanoseconds since 1970) is the moment just before the callback was sent: it
// comes back in the run's output, where the client reads how long it took from the callback to the end of the run.
type Result struct {
	URL    string `json:"url"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
	SentAt int64  `json:"sent_at"`
}

// StartArgs say how the service behaves.
type StartArgs struct {
	CallbackAfter time.Duration // from the answer to the callback
}

// Started says where it is.
type Started struct{ URL string }

// Counts is what happened so far.
type Counts struct {
	Tasks  int64 // taken
	Held   int64 // of them, kept back
	Called int64 // callbacks that were taken
	Failed int64 // callbacks that were given up
}

// Service is the outside service. Its methods are called by the bench.
type Service struct {
	ctx    context.Context //nolint:containedctx // the life of the process; net/rpc methods are given none
	args   StartArgs
	server *fasthttp.Server
	client *fasthttp.Client
	due    chan Task
	owned  sync.WaitGroup

	tasks, called, failed atomic.Int64

	mu   sync.Mutex
	held []Task
}

// New makes a service that Start starts.
func New(ctx context.Context) *Service { return &Service{ctx: ctx} }

// Start listens on a free port of the loopback interface.
func (s *Service) Start(args StartArgs, started *Started) error {
	listener, err := new(net.ListenConfig).Listen(s.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for tasks: %w", err)
	}
	s.args = args
	s.due = make(chan Task, callers)
	s.client = &fasthttp.Client{MaxConnsPerHost: callers, ReadTimeout: answerTime, WriteTimeout: answerTime}
	s.server = &fasthttp.Server{Handler: s.take, NoDefaultServerHeader: true}
	s.owned.Go(func() { _ = s.server.Serve(listener) })
	for range callers {
		s.owned.Go(s.call)
	}
	started.URL = "http://" + listener.Addr().String()
	return nil
}

// Counts tells what happened so far.
func (s *Service) Counts(_ struct{}, counts *Counts) error {
	s.mu.Lock()
	held := len(s.held)
	s.mu.Unlock()
	*counts = Counts{Tasks: s.tasks.Load(), Held: int64(held), Called: s.called.Load(), Failed: s.failed.Load()}
	return nil
}

// Release calls back for all tasks that were held, as fast as the callbacks are taken. It returns when the last was begun.
func (s *Service) Release(_ struct{}, released *int64) error {
	s.mu.Lock()
	held := s.held
	s.held = nil
	s.mu.Unlock()
	for _, task := range held {
		if !s.hand(task) {
			return context.Cause(s.ctx)
		}
	}
	*released = int64(len(held))
	return nil
}

// Close ends the service; callbacks that are not sent yet are dropped.
func (s *Service) Close() error {
	if s.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.server.ShutdownWithContext(ctx)
	s.owned.Wait()
	if errors.Is(err, context.DeadlineExceeded) { // a client keeps its connections open: theirs to close
		return nil
	}
	return err
}

func (s *Service) take(rc *fasthttp.RequestCtx) {
	var task Task
	if string(rc.Path()) != Path {
		rc.Error("no such path", fasthttp.StatusNotFound)
		return
	}
	if err := json.Unmarshal(rc.PostBody(), &task); err != nil || task.ID == "" || task.CallbackURL == "" {
		rc.Error("a task has an id and a callback_url", fasthttp.StatusBadRequest)
		return
	}
	s.tasks.Add(1)
	rc.SetStatusCode(fasthttp.StatusAccepted)
	rc.SetContentType("application/json")
	rc.SetBodyString(`{"task_id":` + strconv.Quote(task.ID) + `,"status":"queued"}`)
	if task.Hold {
		s.mu.Lock()
		s.held = append(s.held, Task{ID: task.ID, CallbackURL: task.CallbackURL})
		s.mu.Unlock()
		return
	}
	// AfterFunc also for no delay: the answer must go out first.
	time.AfterFunc(s.args.CallbackAfter, func() { s.hand(task) })
}

// hand gives a task to the callers.
func (s *Service) hand(task Task) bool {
	select {
	case s.due <- task:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// call is one caller's life.
func (s *Service) call() {
	for {
		select {
		case task := <-s.due:
			if s.send(task) {
				s.called.Add(1)
			} else {
				s.failed.Add(1)
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// send calls back until it is taken.
func (s *Service) send(task Task) bool {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.SetRequestURI(task.CallbackURL)
	request.Header.SetMethod(fasthttp.MethodPost)
	request.Header.SetContentType("application/json")
	for range tries {
		body, err := callbackBody(task.ID, time.Now())
		if err != nil {
			return false
		}
		request.SetBody(body)
		err = s.client.Do(request, response)
		if code := response.StatusCode(); err == nil && code >= 200 && code < 300 {
			return true
		}
		s.client.CloseIdleConnections() // to a process that was killed: the next try must not meet another of them
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return false
		}
	}
	return false
}

func callbackBody(id string, at time.Time) ([]byte, error) {
	return json.Marshal(Callback{ID: id, Status: "completed", Result: Result{
		URL: "https://files.example.com/out/" + id + ".png", Width: 1024, Height: 1024, SentAt: at.UnixNano(),
	}})
}
