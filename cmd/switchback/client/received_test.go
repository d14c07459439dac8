package client

import (
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
)

func TestReceived(t *testing.T) {
	h := newHouse(t)
	if err := h.Received(t.Context(), "", func(*event.Received) bool { t.Error("a request of nobody"); return true }); err != nil {
		t.Fatal(err)
	}
	for _, verdict := range []string{"accepted", "unauthorized", "accepted"} {
		m := bus.ReceivedMessage(&event.Received{ID: "r", Listener: "l", Endpoint: "/a b", Verdict: verdict, Body: []byte(verdict)})
		if _, err := h.b.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	for verdict, want := range map[string]string{"": "3 accepted, 2 unauthorized, 1 accepted", "accepted": "3 accepted, 1 accepted", "none": ""} {
		var got []string
		err := h.Received(t.Context(), verdict, func(r *event.Received) bool {
			got = append(got, string(rune('0'+r.Seq))+" "+string(r.Body))
			return true
		})
		if s := strings.Join(got, ", "); err != nil || s != want {
			t.Errorf("%q: %s, %v, want %s", verdict, s, err, want)
		}
	}
	if r, err := h.ReceivedAt(t.Context(), 2); err != nil || r.Verdict != "unauthorized" || r.Endpoint != "/a b" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := h.ReceivedAt(t.Context(), 9); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("%v", err)
	}
}
