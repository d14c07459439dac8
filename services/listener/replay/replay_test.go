package replay_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener/replay"
)

const file = `
listeners:
  - id: in
    base_path: /in
    callbacks:
      - {path: "/one/{part}", identify_by: "${path.part}-${body.id}", status: "${body.state}", success_when: ok, fail_when: bad, error: "${body.why}",
         progress: "${body.percent}", dedupe_by: "${header.x-secret-id}"}
      - {path: /bulk, bulk: true, item: "${body.list}", identify_by: "${item.id}", result: "${item.v}"}
      - {path: /both, when: "${header.kind == 'a'}", identify_by: a, result: "${request}"}
      - {path: /both, when: "${header.kind == 'b'}", identify_by: b, result: "${env.REGION}"}
      - {path: /events, ignore: "${body.type == 'ping'}", identify_by: "${body.id}"}
      - {path: /secret, identify_by: "${query.api_key}", result: "${header}"}
      - {path: /form, identify_by: "${body.id}", result: "${body.tags[*]}"}
  - {id: start, type: http-trigger, path: /start, workflow: "${body.flow}", input: {a: "${body.a}"}}
  - {id: push, type: http-trigger, port: 8092, path: /push, workflow: v, ignore: "${body.ref != 'main'}"}
component: {type: logger, message: x}
workflows: {w: {job: {}}, v: {job: {}}}
`

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// record is the record of a JSON request to a listener.
func record(listener, path, body string, change func(*event.Received)) *event.Received {
	path, query, _ := strings.Cut(path, "?")
	r := &event.Received{
		Seq: 7, ID: "REQ", At: noon, Listener: listener, Method: "POST", Path: path, Query: query, Remote: netip.MustParseAddr("192.0.2.7"), Verdict: "accepted", Status: 200,
		Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte(body), BodySize: len(body),
	}
	if change != nil {
		change(r)
	}
	return r
}

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func described(p *replay.Replay) []string {
	var all []string
	for _, item := range p.Items {
		switch {
		case item.Err != nil:
			all = append(all, "error: "+item.Err.Error())
		case item.Run != nil:
			all = append(all, fmt.Sprintf("run %s %s", item.Run.Workflow, item.Run.Input))
		default:
			cb := item.Callback
			all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", cb.ID, cb.Outcome, cb.Result, cb.Error)))
			if cb.DeliveryID != "" || !cb.ReceivedAt.Equal(noon) || cb.Endpoint != p.Endpoint {
				all = append(all, fmt.Sprintf("unexpected: %+v", cb))
			}
		}
	}
	return all
}

func TestMap(t *testing.T) {
	doc, err := compose.Parse([]byte(file), func(string) (string, bool) { return "", true })
	if err != nil {
		t.Fatal(err)
	}
	one, three := 1, 3
	zipped := packed(t, `{"id":1,"state":"ok"}`)
	tests := map[string]struct {
		record  *event.Received
		options replay.Options
		want    []string // of the items
		err     string   // or the error
		code    fault.Code
	}{
		"success": {record: record("in", "/in/one/x", `{"id":12345678901234567890,"state":"ok"}`, nil), want: []string{`x-12345678901234567890 succeeded {"id":12345678901234567890,"state":"ok"}`}},
		"failure": {record: record("in", "/in/one/x", `{"id":1,"state":"bad","why":"no"}`, nil), want: []string{`x-1 failed {"id":1,"state":"bad","why":"no"} no`}},
		"progress": {
			record: record("in", "/in/one/x", `{"id":1,"state":"going","percent":3}`, nil), want: []string{`x-1 progress 3`},
		},
		"compressed": {
			record: record("in", "/in/one/x", string(zipped), func(r *event.Received) { r.Header["Content-Encoding"] = []string{"gzip"} }),
			want:   []string{`x-1 succeeded {"id":1,"state":"ok"}`},
		},
		"form": {
			record: record("in", "/in/form", `id=5&tags=a&tags=b`, func(r *event.Received) {
				r.Header = map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}}
			}),
			want: []string{`5 succeeded ["a","b"]`},
		},
		"another id": {record: record("in", "/in/one/x", `{"state":"ok"}`, nil), options: replay.Options{ID: "mine"}, want: []string{`mine succeeded {"state":"ok"}`}},
		"bulk": {
			record: record("in", "/in/bulk", `{"list":[{"id":"a","v":1},{"v":2},{"id":"c","v":3}]}`, nil),
			want:   []string{`a succeeded 1`, `error: no identifier: ${item.id} is not in this request`, `c succeeded 3`},
		},
		"one item": {record: record("in", "/in/bulk", `{"list":[{"id":"a"},{"id":"b","v":2}]}`, nil), options: replay.Options{Item: &one}, want: []string{`b succeeded 2`}},
		"one item for another id": {
			record: record("in", "/in/bulk", `{"list":[{"v":1},{"v":2}]}`, nil), options: replay.Options{Item: &one, ID: "mine"}, want: []string{`mine succeeded 2`},
		},
		"no such item":       {record: record("in", "/in/bulk", `{"list":[{"id":"a"}]}`, nil), options: replay.Options{Item: &three}, err: "there is no item 3", code: fault.NotFound},
		"one id for several": {record: record("in", "/in/bulk", `{"list":[{"id":"a"},{"id":"b"}]}`, nil), options: replay.Options{ID: "x"}, err: "one id cannot stand for all", code: fault.Usage},
		"no list":            {record: record("in", "/in/bulk", `{"list":3}`, nil), err: "gives no list", code: fault.Unusable},
		"what came, not now": {record: record("in", "/in/both", `{}`, func(r *event.Received) { r.Header["Kind"] = []string{"a"} }), want: []string{`a succeeded {"id":"REQ","method":"POST","path":"/in/both","received_at":"2026-03-04T12:00:00Z","remote_addr":"192.0.2.7"}`}},
		"the second by its when": {
			record: record("in", "/in/both", `{}`, func(r *event.Received) { r.Header["Kind"] = []string{"b"} }), want: []string{`b succeeded "north"`},
		},
		"no when holds":     {record: record("in", "/in/both", `{}`, nil), err: "none of their conditions (when) holds", code: fault.NotFound},
		"run":               {record: record("start", "/start", `{"flow":"v","a":1}`, nil), want: []string{`run v {"a":1}`}},
		"a run ignored":     {record: record("push", "/push", `{"ref":"other"}`, nil), err: "the endpoint ignores request 7", code: fault.Conflict},
		"a run not ignored": {record: record("push", "/push", `{"ref":"main"}`, nil), want: []string{`run v {"ref":"main"}`}},
		"ignored":           {record: record("in", "/in/events", `{"id":1,"type":"ping"}`, nil), err: "the endpoint ignores request 7", code: fault.Conflict},
		"ignored, for another id": {
			record: record("in", "/in/events", `{"type":"ping"}`, nil), options: replay.Options{ID: "mine"}, want: []string{`mine succeeded {"type":"ping"}`},
		},
		"an id for a run": {
			record: record("start", "/start", `{"flow":"v"}`, nil), options: replay.Options{ID: "x"}, err: "no run waits for it", code: fault.Usage,
		},
		"refused then, right now": {
			record: record("in", "/in/one/x", `{"id":1,"state":"ok"}`, func(r *event.Received) { r.Verdict, r.Status = "unprocessable", 422 }),
			want:   []string{`x-1 succeeded {"id":1,"state":"ok"}`},
		},
		"unreadable": {record: record("in", "/in/one/x", `{"id":`, nil), err: "not well-formed JSON", code: fault.Invalid},
		"wrong signature": {
			record: record("in", "/in/one/x", `{"id":1,"state":"ok"}`, func(r *event.Received) { r.Verdict, r.Status = "unauthorized", 401 }), err: "was refused (unauthorized)", code: fault.Conflict,
		},
		"wrong signature, trusted": {
			record:  record("in", "/in/one/x", `{"id":1,"state":"ok"}`, func(r *event.Received) { r.Verdict, r.Status = "unauthorized", 401 }),
			options: replay.Options{Force: true}, want: []string{`x-1 succeeded {"id":1,"state":"ok"}`},
		},
		"handshake": {
			record: record("in", "/in/one/x", `{}`, func(r *event.Received) { r.Verdict = "handshake" }), options: replay.Options{Force: true}, err: "was a handshake", code: fault.Conflict,
		},
		"beginning of a body": {
			record: record("in", "/in/one/x", `{"id":1`, func(r *event.Received) { r.Cut, r.BodySize = true, 300000 }), options: replay.Options{Force: true},
			err: "only the first 7 of 300000 bytes were recorded", code: fault.Conflict,
		},
		"no body": {
			record: record("in", "/in/one/x", ``, func(r *event.Received) { r.Cut, r.BodySize = true, 3 }), err: "the body of request 7 was not recorded", code: fault.Conflict,
		},
		"secrets that are read": {
			record: record("in", "/in/secret?api%5Fkey=***", `{}`, func(r *event.Received) { r.Masked = []string{"?api%5Fkey", "X-Token"} }),
			err:    "the endpoint reads query api_key, header X-Token, which is secret", code: fault.Conflict,
		},
		"secrets that are not": {
			record: record("in", "/in/one/x?token=***", `{"id":1,"state":"ok"}`, func(r *event.Received) { r.Masked = []string{"?token", "X-Secret-Id"} }),
			want:   []string{`x-1 succeeded {"id":1,"state":"ok"}`},
		},
		"listener gone": {record: record("out", "/in/one/x", `{}`, nil), err: "the file has no listener out", code: fault.NotFound},
		"endpoint gone": {record: record("in", "/one/x", `{}`, nil), err: "takes POST /one/x in this file", code: fault.NotFound},
		"method gone":   {record: record("in", "/in/one/x", `{}`, func(r *event.Received) { r.Method = "PUT" }), err: "takes PUT /in/one/x in this file", code: fault.NotFound},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.options.Document = doc
			tt.options.Getenv = func(string) (string, bool) { return "north", true }
			p, err := replay.Map(tt.record, tt.options)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || fault.CodeOf(err) != tt.code {
					t.Errorf("got %v (%s), want %s", err, fault.CodeOf(err), tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, described(p)); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
		})
	}
}
