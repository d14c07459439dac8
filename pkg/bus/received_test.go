package bus_test

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
)

// What is written by hand is what encoding/json writes, and reads back.
func FuzzReceived(f *testing.F) {
	f.Add("01ABC", "/a b", "q=\"1\"", "", "X-A", "v\x00\xff", "id-1", 7, false, []byte("line\nline"))
	f.Add("", "", "", "it is not JSON", "", "", "", 0, true, []byte(nil))
	f.Add("x", "/ü", "\u2028<>&", "é", "X-A", "\t", "a.b", 1<<40, true, []byte("{}"))
	f.Fuzz(func(t *testing.T, id, path, query, failure, name, text, item string, n int, flag bool, body []byte) {
		r := &event.Received{
			ID: id, At: time.Unix(int64(n%4e9), 123456789).UTC(), Listener: "l", Endpoint: path, Method: "POST", Path: path, Query: query, Remote: netip.MustParseAddr("2001:db8::1"),
			Verdict: "accepted", Status: n, Error: failure, More: max(n, 0), BodySize: len(body), Cut: flag, Body: body,
		}
		if name != "" {
			r.Header = map[string][]string{name: {text, "", text}}
			r.Masked = []string{name, "?" + name}
		}
		if item != "" || flag {
			r.Items = []event.ReceivedItem{{}, {ID: item, Outcome: event.Failed, Seq: uint64(max(n, 0)), Run: item, Duplicate: flag, Error: failure}}
		}
		m := bus.ReceivedMessage(r)
		got, err := bus.DecodeReceived(&bus.Stored{Data: m.Data})
		if err != nil {
			t.Fatalf("%v in %q", err, m.Data)
		}
		// Through encoding/json: it also replaces what is not UTF-8.
		std, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		want := &event.Received{}
		if err := json.Unmarshal(std, want); err != nil {
			t.Fatal(err)
		}
		if string(got.Body) != string(body) {
			t.Errorf("the body is %q, want %q", got.Body, body)
		}
		got.Body = nil
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("%s\nin %q", d, m.Data)
		}
	})
}
