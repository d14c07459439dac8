package ingress_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/listener/ingress"
)

// full uses every template of a callback.
func full(t testing.TB) compose.Callback {
	t.Helper()
	return compose.Callback{
		IdentifyBy: tmpl(t, "${body.id}"), Status: tmpl(t, "${body.status}"), SuccessWhen: []string{"done"}, FailWhen: []string{"failed"},
		Result: tmpl(t, map[string]any{"url": "${body.output.url}", "n": "${body.n | 1}", "all": "${body}"}),
		Error:  tmpl(t, "${body.message}"), Progress: tmpl(t, "${body.percent}"), DedupeBy: tmpl(t, "${header.X-Delivery}"),
	}
}

func bulky(t testing.TB) compose.Callback {
	t.Helper()
	return compose.Callback{
		Bulk: true, Item: tmpl(t, "${body.items}"), IdentifyBy: tmpl(t, "${item.id}"), Status: tmpl(t, "${item.status}"),
		SuccessWhen: []string{"done"}, DedupeBy: tmpl(t, "${header.X-Delivery}"),
	}
}

func TestOutcome(t *testing.T) {
	done, failed := []string{"done", "200"}, []string{"failed", "true"}
	tests := []struct {
		status        any
		success, fail []string
		body          string
		want          event.Outcome
	}{
		{nil, nil, nil, `{}`, event.Succeeded},
		{nil, done, failed, `{}`, event.Succeeded},
		{"${body.s}", done, failed, `{"s":"done"}`, event.Succeeded},
		{"${body.s}", done, failed, `{"s":"failed"}`, event.Failed},
		{"${body.s}", done, failed, `{"s":"running"}`, event.Progress},
		{"${body.s}", done, failed, `{"s":null}`, event.Progress},
		{"${body.s}", done, failed, `{}`, event.Progress},
		{"${body.s}", done, failed, `{"s":200}`, event.Succeeded},
		{"${body.s}", done, failed, `{"s":200.0}`, event.Progress},
		{"${body.s}", done, failed, `{"s":true}`, event.Failed},
		{"${body.s}", done, failed, `{"s":["done"]}`, event.Progress},
		{"${body.s}", []string{`{"a":1}`}, nil, `{"s":{ "a": 1 }}`, event.Succeeded},
		{"${body.s}", []string{"done", ""}, failed, `{"s":null}`, event.Progress},
		{"${body.s}", []string{"done", ""}, failed, `{"s":""}`, event.Succeeded},
		{"${body.s}", nil, nil, `{"s":"anything"}`, event.Succeeded},
		{"${body.s}", nil, nil, `{}`, event.Succeeded},
		{"${body.s}", nil, failed, `{"s":"running"}`, event.Succeeded},
		{"${body.s}", nil, failed, `{}`, event.Succeeded},
		{"${body.s}", nil, failed, `{"s":"failed"}`, event.Failed},
		{"${body.s}", done, nil, `{"s":"running"}`, event.Progress},
		{"${body.s}", done, nil, `{}`, event.Progress},
		{"${body.s}", done, done, `{"s":"done"}`, event.Succeeded},
		{"${body.s | \"done\"}", done, nil, `{}`, event.Succeeded},
		{"x${body.s}", []string{"xdone"}, nil, `{"s":"done"}`, event.Succeeded},
	}
	for _, tt := range tests {
		c := compose.Callback{SuccessWhen: tt.success, FailWhen: tt.fail}
		if tt.status != nil {
			c.Status = tmpl(t, tt.status)
		}
		it := one(t, c, request(jsonType, tt.body))
		if it.Err != nil || it.Callback.Outcome != tt.want {
			t.Errorf("status %v of %s, success %q, fail %q: %s (%v), want %s", tt.status, tt.body, tt.success, tt.fail, it.Callback.Outcome, it.Err, tt.want)
		}
	}
}

func TestIdentify(t *testing.T) {
	tests := []struct {
		template any
		body     string
		want     string
		err      string
	}{
		{nil, `{}`, "__callback__", ""},
		{"${body.id}", `{"id":"a b.c>*"}`, "a b.c>*", ""},
		{"${body.id}", `{"id":123}`, "123", ""},
		{"${body.id}", `{"id":12345678901234567890}`, "12345678901234567890", ""},
		{"${body.id}", `{"id":1.50}`, "1.50", ""},
		{"${body.id}", `{"id":true}`, "true", ""},
		{"${body.id}", `{"id":"caf\u00e9"}`, "café", ""},
		{"${body.a}-${body.b}", `{"a":1,"b":"x"}`, "1-x", ""},
		{"${body.id | body.alt}", `{"id":null}`, "body.alt", ""},
		{"${query.id}", `{}`, "of the query", ""},
		{"${header.x-request}", `{}`, "of the header", ""},
		{"${path.id}", `{}`, "of the path", ""},
		{"${env.SET}", `{}`, "of SET", ""},
		{"${request.id}", `{}`, "req-1", ""},
		{"${item.id}", `{"id":"the body is the item"}`, "the body is the item", ""},
		{"${body.id}", `{}`, "", "not in this request"},
		{"${body.id}", `{"id":null}`, "", "not in this request"},
		{"${env.UNSET}", `{}`, "", "not in this request"},
		{"${body.id}", `{"id":""}`, "", "is empty"},
		{"${body.id}", `{"id":{}}`, "", "map or list"},
		{"${body.id}", `{"id":["x"]}`, "", "map or list"},
		{"${body.id}", `{"id":"` + strings.Repeat("x", 1025) + `"}`, "", "too long"},
		{"${body.id}", `{"id":"` + strings.Repeat("é", 400) + `"}`, "", "too long"},
	}
	for _, tt := range tests {
		c := compose.Callback{}
		if tt.template != nil {
			c.IdentifyBy = tmpl(t, tt.template)
		}
		r := request(jsonType, tt.body)
		r.Query = "id=of+the+query"
		r.Header.(header)["X-Request"] = []string{"of the header"}
		r.Params = []ingress.Param{{Name: "id", Value: "of the path"}}
		it := one(t, c, r)
		if it.Callback.ID != tt.want || (it.Err != nil) != (tt.err != "") {
			t.Errorf("%v of %.60s: %q (%v), want %q", tt.template, tt.body, it.Callback.ID, it.Err, tt.want)
		}
		if tt.err != "" && (fault.CodeOf(it.Err) != fault.Unusable || !strings.Contains(it.Err.Error(), tt.err)) {
			t.Errorf("%v of %.60s: %v, want %q", tt.template, tt.body, it.Err, tt.err)
		}
	}
}

func TestScope(t *testing.T) {
	r := request(jsonType, `{}`)
	r.Query = "a=1&b=2&a=3&c=%zz&d"
	r.Header = header{"Content-Type": {jsonType}, "X-One": {"1"}, "X-Two": {"a", "b"}}
	r.Params = []ingress.Param{{Name: "id", Value: "7"}}
	got := resultOf(t, map[string]any{
		"last": "${query.a}", "all": "${query.a[*]}", "first": "${query.a[0]}", "one": "${query.b[*]}", "none": "${query.x[*]}",
		"query": "${query}", "badly_escaped": "${query.c}",
		"header": "${header.x-TWO}", "values": "${header.X-Two[*]}", "headers": "${header}", "no_header": "${header.x-three}",
		"path": "${path.id}", "paths": "${path}", "request": "${request}", "env": "${env.SET}", "all_env": "${env}", "item": "${item}",
	}, r)
	want := map[string]any{
		"last": "3", "all": []any{"1", "3"}, "first": "1", "one": []any{"2"}, "none": nil,
		"query": map[string]any{"a": []any{"1", "3"}, "b": "2", "c": "%zz", "d": ""}, "badly_escaped": "%zz",
		"header": "a, b", "values": []any{"a", "b"}, "no_header": nil,
		"headers": map[string]any{"content-type": jsonType, "x-one": "1", "x-two": "a, b"},
		"path":    "7", "paths": map[string]any{"id": "7"},
		"request": map[string]any{
			"method": "POST", "path": "/webhook", "id": "req-1", "remote_addr": "192.0.2.1", "received_at": "2026-11-22T10:00:00.000000005Z",
		},
		"env": "of SET", "all_env": nil, "item": map[string]any{},
	}
	decoded, err := value.Decode([]byte(got))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(any(want), decoded); d != "" {
		t.Error(d)
	}
}

func TestPayload(t *testing.T) {
	status := compose.Callback{
		Status: tmpl(t, "${body.s}"), SuccessWhen: []string{"done"}, FailWhen: []string{"failed"},
		Result: tmpl(t, "${body.out}"), Progress: tmpl(t, map[string]any{"percent": "${body.p}"}),
	}
	bare := status
	bare.Progress = nil
	withError := status
	withError.Error = tmpl(t, "${body.why}")
	empty := status
	empty.Progress = tmpl(t, "${body.p}")
	tests := []struct {
		name, body string
		c          compose.Callback
		want       event.Callback
	}{
		{"result", `{"s":"done","out":[1]}`, status, event.Callback{Outcome: event.Succeeded, Result: json.RawMessage(`[1]`)}},
		{"progress", `{"s":"going","p":40}`, status, event.Callback{Outcome: event.Progress, Result: json.RawMessage(`{"percent":40}`)}},
		{"progress without a template", `{"s":"going","out":1}`, bare, event.Callback{Outcome: event.Progress, Result: json.RawMessage(`1`)}},
		{"progress that is missing", `{"s":"going","out":1}`, empty, event.Callback{Outcome: event.Progress, Result: json.RawMessage(`1`)}},
		{
			"failure keeps its payload", `{"s":"failed","out":1}`, status,
			event.Callback{Outcome: event.Failed, Result: json.RawMessage(`1`), Error: `the callback says "failed"`},
		},
		{
			"failure with a message", `{"s":"failed","why":"no\r\nSwitchback-Outcome: succeeded"}`, withError,
			event.Callback{Outcome: event.Failed, Result: json.RawMessage(`null`), Error: `no  Switchback-Outcome: succeeded`},
		},
		{
			"failure without its message", `{"s":"failed"}`, withError,
			event.Callback{Outcome: event.Failed, Result: json.RawMessage(`null`), Error: `the callback says "failed"`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request(jsonType, tt.body)
			r.Trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
			tt.want.ID, tt.want.Endpoint, tt.want.ReceivedAt, tt.want.Trace = "__callback__", "/webhook", r.ReceivedAt, r.Trace
			if d := cmp.Diff(ingress.Item{Callback: tt.want}, one(t, tt.c, r)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLongErrorIsCut(t *testing.T) {
	c := compose.Callback{Status: tmpl(t, "${body.s}"), FailWhen: []string{"f"}, Error: tmpl(t, "${body.e}")}
	it := one(t, c, request(jsonType, `{"s":"f","e":"`+strings.Repeat("é", 3000)+`"}`))
	if n := len(it.Callback.Error); n > 2100 || !strings.HasSuffix(it.Callback.Error, "é…") {
		t.Errorf("%d bytes, ending %q", n, it.Callback.Error[n-10:])
	}
}

func TestBulk(t *testing.T) {
	const body = `{"items":[{"id":"a","status":"done"},{"status":"done"},{"id":3,"status":"going"},7,{"id":""}]}`
	items, err := callback(bulky(t)).Callbacks(request(jsonType, body), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, it := range items {
		got = append(got, fmt.Sprintf("%s %s %s %v", it.Callback.ID, it.Callback.Outcome, it.Callback.Result, it.Err != nil))
	}
	want := []string{
		`a succeeded {"id":"a","status":"done"} false`, `   true`, `3 progress {"id":3,"status":"going"} false`, `   true`, `   true`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestBulkLists(t *testing.T) {
	tests := []struct {
		item        any
		contentType string
		body        string
		want        int // items; -1 for unusable
	}{
		{"${body.items}", jsonType, `{"items":[]}`, 0},
		{"${body.items}", jsonType, `{"items":[{"id":1},{"id":2}]}`, 2},
		{"${body.items}", jsonType, `{"items":{}}`, -1},
		{"${body.items}", jsonType, `{"items":null}`, -1},
		{"${body.items}", jsonType, `{}`, -1},
		{"${body.items}", jsonType, ``, -1},
		{"${body.items}", jsonType, `{"items":"[]"}`, -1},
		{nil, jsonType, `[{"id":1}]`, 1},
		{nil, jsonType, `{}`, -1},
		{nil, "text/plain", `[]`, -1},
		{"${body.groups[*].id}", jsonType, `{"groups":[{"id":1},{"id":2}]}`, 2},
		{[]any{"${body.a}", "${body.b}"}, jsonType, `{"a":{"id":1},"b":{"id":2}}`, 2},
		{"${body.id[*]}", "application/x-www-form-urlencoded", `id=1&id=2`, 2},
	}
	for _, tt := range tests {
		c := bulky(t)
		c.Item = nil
		if tt.item != nil {
			c.Item = tmpl(t, tt.item)
		}
		c.IdentifyBy = tmpl(t, "id ${item.id}")
		items, err := callback(c).Callbacks(request(tt.contentType, tt.body), nil)
		if tt.want < 0 {
			if fault.CodeOf(err) != fault.Unusable {
				t.Errorf("%v of %s: %v, want unusable", tt.item, tt.body, err)
			}
			continue
		}
		if err != nil || len(items) != tt.want {
			t.Errorf("%v of %s: %d items (%v), want %d", tt.item, tt.body, len(items), err, tt.want)
		}
		for _, it := range items {
			if it.Err != nil {
				t.Errorf("%v of %s: %v", tt.item, tt.body, it.Err)
			}
		}
	}
}

func TestItemWithoutBulkNarrows(t *testing.T) {
	for _, source := range []string{"${body.data}", "${body.data | 0}"} {
		c := compose.Callback{Item: tmpl(t, source), IdentifyBy: tmpl(t, "${item.id}")}
		it := one(t, c, request(jsonType, `{"data":{"id":"x","n":10000000000000000001}}`))
		if it.Err != nil || it.Callback.ID != "x" || string(it.Callback.Result) != `{"id":"x","n":10000000000000000001}` {
			t.Errorf("%s: %+v", source, it)
		}
	}
}

func TestBulkIsBounded(t *testing.T) {
	c := compose.Callback{Bulk: true, Item: tmpl(t, "${body.items}"), Result: tmpl(t, "${body}")}
	big := `{"items":[` + strings.Repeat("1,", 40) + `1],"pad":"` + strings.Repeat("x", 1<<19) + `"}`
	items, err := callback(c).Callbacks(request(jsonType, big), nil)
	if err != nil || items[0].Err != nil || fault.CodeOf(items[40].Err) != fault.TooLarge {
		t.Errorf("%v, first %v, last %v", err, items[0].Err, items[40].Err)
	}
	_, err = callback(c).Callbacks(request(jsonType, `{"items":[`+strings.Repeat("1,", 10_000)+`1]}`), nil)
	if fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("10,001 items: %v, want too large", err)
	}
}

func TestDeliveryID(t *testing.T) {
	deliveries := func(c compose.Callback, body, delivery string) []string {
		r := request(jsonType, body)
		if delivery != "" {
			r.Header.(header)["X-Delivery"] = []string{delivery}
		}
		items, err := callback(c).Callbacks(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, it := range items {
			ids = append(ids, it.Callback.DeliveryID)
		}
		return ids
	}
	single := full(t)
	a := deliveries(single, `{"id":1}`, "d-1")
	if len(a[0]) < 16 || strings.ContainsAny(a[0], " \r\n") {
		t.Errorf("delivery id %q", a[0])
	}
	if d := cmp.Diff(a, deliveries(single, `{"id":1,"other":2}`, "d-1")); d != "" {
		t.Errorf("the same delivery: %s", d)
	}
	if got := deliveries(single, `{"id":1}`, ""); got[0] != "" {
		t.Errorf("no delivery id gives %q", got)
	}
	elsewhere := single
	elsewhere.Path = "/other"
	for name, b := range map[string][]string{
		"other delivery": deliveries(single, `{"id":1}`, "d-2"),
		"other id":       deliveries(single, `{"id":2}`, "d-1"),
		"other endpoint": deliveries(elsewhere, `{"id":1}`, "d-1"),
	} {
		if a[0] == b[0] {
			t.Errorf("%s gives the same %q", name, a[0])
		}
	}
	if ids := deliveries(bulky(t), `{"items":[{"id":1},{"id":1}]}`, "d-1"); ids[0] == ids[1] {
		t.Errorf("two items of one delivery share %q", ids[0])
	}
	byItem := bulky(t)
	byItem.DedupeBy = tmpl(t, "${item.event}")
	x := deliveries(byItem, `{"items":[{"id":1,"event":"e1"},{"id":1,"event":"e2"}]}`, "")
	y := deliveries(byItem, `{"items":[{"id":1,"event":"e2"}]}`, "")
	if x[1] != y[0] || x[0] == x[1] {
		t.Errorf("by the item's own id: %q and %q", x, y)
	}
}

func TestWhen(t *testing.T) {
	tests := []struct {
		when any
		body string
		want bool
	}{
		{nil, `{}`, true},
		{`${body.type == "done"}`, `{"type":"done"}`, true},
		{`${body.type == "done"}`, `{"type":"x"}`, false},
		{`${body.flag}`, `{"flag":true}`, true},
		{`${body.flag}`, `{"flag":"yes"}`, true},
		{`${body.flag}`, `{"flag":"false"}`, false},
		{`${body.flag}`, `{"flag":0}`, false},
		{`${body.flag}`, `{}`, false},
	}
	for _, tt := range tests {
		c := compose.Callback{}
		if tt.when != nil {
			c.When = tmpl(t, tt.when)
		}
		got, err := callback(c).Takes(request(jsonType, tt.body))
		if err != nil || got != tt.want {
			t.Errorf("%v of %s: %v (%v)", tt.when, tt.body, got, err)
		}
	}
	if _, err := callback(compose.Callback{When: tmpl(t, "${body.x}")}).Takes(request(jsonType, `{`)); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("an unreadable body: %v", err)
	}
}

func TestRuns(t *testing.T) {
	tests := []struct {
		name string
		tr   compose.Trigger
		body string
		want []string
	}{
		{"whole body", compose.Trigger{Workflow: tmpl(t, "w")}, `{"a":1.0}`, []string{`w {"a":1.0} <nil>`}},
		{"empty body", compose.Trigger{Workflow: tmpl(t, "w")}, ``, []string{`w  <nil>`}},
		{"input", compose.Trigger{Workflow: tmpl(t, "w"), Input: tmpl(t, map[string]any{"x": "${body.a}"})}, `{"a":1.0}`, []string{`w {"x":1.0} <nil>`}},
		{"workflow by template", compose.Trigger{Workflow: tmpl(t, "on-${body.kind}")}, `{"kind":"push"}`, []string{`on-push {"kind":"push"} <nil>`}},
		{"no object", compose.Trigger{Workflow: tmpl(t, "w")}, `[1]`, []string{`w  unprocessable`}},
		{"no workflow", compose.Trigger{Workflow: tmpl(t, "${body.w}")}, `{}`, []string{`  unprocessable`}},
		{"bulk", compose.Trigger{Workflow: tmpl(t, "w"), Bulk: true, Item: tmpl(t, "${body.l}")}, `{"l":[{"a":1},2]}`, []string{`w {"a":1} <nil>`, `w  unprocessable`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			items, err := ingress.NewTrigger("hooks", &tt.tr).Runs(request(jsonType, tt.body))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, it := range items {
				code := "<nil>"
				if it.Err != nil {
					code = string(fault.CodeOf(it.Err))
				}
				got = append(got, fmt.Sprintf("%s %s %s", it.Request.Workflow, it.Request.Input, code))
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestReset(t *testing.T) {
	e := callback(full(t))
	r := request(jsonType, `{"id":"first","status":"done"}`)
	if _, err := e.Callbacks(r, nil); err != nil {
		t.Fatal(err)
	}
	r.Reset()
	r.Header, r.MaxBody, r.Body, r.Query = header{}, 1<<20, nil, "x=2"
	items, err := e.Callbacks(r, nil)
	if err != nil || items[0].Err == nil {
		t.Errorf("the former body is still there: %+v (%v)", items, err)
	}
}

// TestAllocations bounds what mapping a usual JSON callback costs: one for the id, one for the status, one for the result.
func TestAllocations(t *testing.T) {
	c := compose.Callback{
		IdentifyBy: tmpl(t, "${body.task_id}"), Status: tmpl(t, "${body.status}"), SuccessWhen: []string{"completed"},
		Result: tmpl(t, map[string]any{"url": "${body.output.url}", "w": "${body.output.width}", "h": "${body.output.height}", "size": "${body.output.file_size}"}),
	}
	e := callback(c)
	body := []byte(`{"task_id":"task-123","status":"completed","output":{"url":"https://cdn.example/x.png","width":1024,"height":768,"file_size":18446744073709551615}}`)
	h := fixedHeader{[]byte(jsonType)}
	r := &ingress.Request{}
	items := make([]ingress.Item, 0, 1)
	n := testing.AllocsPerRun(200, func() {
		r.Reset()
		r.Header, r.Body, r.MaxBody = h, body, 1<<20
		var err error
		if items, err = e.Callbacks(r, items[:0]); err != nil || items[0].Err != nil {
			t.Fatal(err, items)
		}
	})
	if n > 3 {
		t.Errorf("%v allocations, want at most 3", n)
	}
}

// fixedHeader has a content type and nothing else, without allocating.
type fixedHeader [][]byte

func (h fixedHeader) PeekAll(name string) [][]byte {
	if name == "Content-Type" {
		return h
	}
	return nil
}

func (h fixedHeader) All() iter.Seq2[[]byte, []byte] { return nil }
