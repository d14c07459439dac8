package mock_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/bench/mock"
)

func TestMain(m *testing.M) {
	var options []goleak.Option
	for _, f := range []string{ // fasthttp starts these for the life of the process, or lets them run out by themselves
		"updateServerDate.func1", "(*workerPool).Start.func2", "(*Client).mCleaner", "(*HostClient).connsCleaner", "(*TCPDialer).tcpAddrsClean",
	} {
		options = append(options, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp."+f))
	}
	goleak.VerifyTestMain(m, options...)
}

func TestCallsBackAfterItAnswered(t *testing.T) {
	called := make(chan mock.Callback, 2)
	refuse := true
	caller := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var c mock.Callback
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(body, &c) != nil {
			t.Errorf("callback %s, %v", body, err)
		}
		if refuse { // the first is tried again
			refuse = false
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		called <- c
	}))
	defer caller.Close()

	ctx, cancel := context.WithCancel(t.Context())
	service := mock.New(ctx)
	defer func() {
		cancel()
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	}()
	var at mock.Started
	if err := service.Start(mock.StartArgs{}, &at); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(task mock.Task, want int) {
		t.Helper()
		body, err := json.Marshal(task)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Post(at.URL+mock.Path, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%+v: answered %s", task, response.Status)
		}
	}

	ask(mock.Task{ID: "held", CallbackURL: caller.URL, Hold: true}, http.StatusAccepted)
	ask(mock.Task{ID: "a", CallbackURL: caller.URL}, http.StatusAccepted)
	ask(mock.Task{ID: "nowhere to call"}, http.StatusBadRequest)
	if c := <-called; c.ID != "a" || c.Status != "completed" || c.Result.SentAt == 0 {
		t.Errorf("called back with %+v", c)
	}
	var released int64
	if err := service.Release(struct{}{}, &released); err != nil || released != 1 {
		t.Errorf("released %d, error %v", released, err)
	}
	if c := <-called; c.ID != "held" {
		t.Errorf("called back with %+v", c)
	}
	var counts mock.Counts
	if err := service.Counts(struct{}{}, &counts); err != nil || counts.Tasks != 2 || counts.Held != 0 || counts.Failed != 0 {
		t.Errorf("counts %+v, error %v", counts, err)
	}
}
