package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Client is an outside program: it knows NATS and the public subjects, and nothing of Switchback's code.
type Client struct {
	t  testing.TB
	NC *nats.Conn
	JS jetstream.JetStream
}

// Run is the run document as an outside program reads it.
type Run struct {
	ID     string          `json:"id"`
	Status string          `json:"status"`
	Input  json.RawMessage `json:"input"`
	Output json.RawMessage `json:"output"`
	Error  *struct {
		Message string          `json:"message"`
		Code    string          `json:"code"`
		Job     string          `json:"job"`
		Data    json.RawMessage `json:"data"`
	} `json:"error"`
	Jobs map[string]struct {
		Status   string `json:"status"`
		Attempts []struct {
			Number int `json:"number"`
			Wait   *struct {
				ID        string `json:"id"`
				ResumedBy *struct {
					Seq uint64 `json:"seq"`
				} `json:"resumed_by"`
			} `json:"wait"`
			Requests []struct {
				Status    int               `json:"status"`
				Addresses map[string]string `json:"addresses"`
			} `json:"requests"`
		} `json:"attempts"`
		Output json.RawMessage `json:"output"`
	} `json:"jobs"`
}

// Connect connects until the test ends, reconnecting for ever.
func Connect(t testing.TB, url string) *Client {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &Client{t: t, NC: nc, JS: js}
}

// Ask asks for a run until JetStream holds the request, which it knows by the run's id.
func (c *Client) Ask(workflow, runID, input string) {
	c.t.Helper()
	Eventually(c.t, "the request of run "+runID+" is stored", func() error { return c.TryAsk(workflow, runID, input) })
}

// TryAsk asks once.
func (c *Client) TryAsk(workflow, runID, input string) error {
	m := nats.NewMsg("run.request." + workflow)
	m.Header.Set("Switchback-Run-Id", runID)
	m.Header.Set("Nats-Msg-Id", runID)
	m.Data = []byte(input)
	_, err := c.JS.PublishMsg(c.t.Context(), m)
	return err
}

// Get gives a run document, or nil where there is none.
func (c *Client) Get(ctx context.Context, runID string) (*Run, error) {
	kv, err := c.JS.KeyValue(ctx, "runs")
	if err != nil {
		return nil, err
	}
	e, err := kv.Get(ctx, runID)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	run := new(Run)
	return run, json.Unmarshal(e.Value(), run)
}

// Await waits until a run has a status.
func (c *Client) Await(runID, status string) *Run {
	c.t.Helper()
	var run *Run
	Eventually(c.t, "run "+runID+" is "+status, func() (err error) {
		if run, err = c.Get(c.t.Context(), runID); err != nil {
			return err
		}
		if run == nil {
			return errors.New("no document")
		}
		if run.Status != status {
			data, _ := json.Marshal(run)
			return fmt.Errorf("it is %s: %s", run.Status, data)
		}
		return nil
	})
	return run
}

// Whole gives a run document, from the object store where the bucket holds a stub.
func (c *Client) Whole(runID string) *Run {
	c.t.Helper()
	ctx := c.t.Context()
	kv, err := c.JS.KeyValue(ctx, "runs")
	if err != nil {
		c.t.Fatal(err)
	}
	e, err := kv.Get(ctx, runID)
	if err != nil {
		c.t.Fatal(err)
	}
	data := e.Value()
	var stub struct {
		Object *struct {
			Bucket string `json:"bucket"`
			Name   string `json:"name"`
		} `json:"object"`
	}
	err = json.Unmarshal(data, &stub)
	if err == nil && stub.Object != nil {
		var store jetstream.ObjectStore
		if store, err = c.JS.ObjectStore(ctx, stub.Object.Bucket); err == nil {
			data, err = store.GetBytes(ctx, stub.Object.Name)
		}
	}
	run := new(Run)
	if err == nil {
		err = json.Unmarshal(data, run)
	}
	if err != nil {
		c.t.Fatalf("read run %s: %v", runID, err)
	}
	return run
}

// Waits counts the waits that stand for callbacks.
func (c *Client) Waits(ctx context.Context) (int, error) {
	kv, err := c.JS.KeyValue(ctx, "waits")
	if err != nil {
		return 0, err
	}
	keys, err := kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return 0, nil
	}
	return len(keys), err
}

// Post posts JSON and gives the status and the body.
func Post(ctx context.Context, url, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(data)), err
}
