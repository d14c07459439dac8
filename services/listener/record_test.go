package listener_test

import (
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/listener"
)

func TestRecord(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{Memory: true})
	s := start(t, strings.Replace(verifiedHooks(), "  callbacks:", "  callbacks:\n    - {path: /by-token, identify_by: \"${body.id}\", verify: {type: token, query: key, secret: \"${env.NEW}\"}}", 1), b, listener.Config{}, secrets)
	s.post("/github", `{"id":"x"}`, "X-Hub-Signature-256", "sha256="+mac("the NEW", `{"id":"x"}`), "Authorization", "Bearer abc", "X-Plain", "seen")
	s.post("/github", `{"id":"y"}`)
	s.post("/by-token?key=the+NEW&a=b", `{"id":"z"}`)
	s.post("/nowhere", `{}`)
	large := strings.Repeat("x", 5<<20)
	if r := s.post("/github", large); r.status != 413 {
		t.Errorf("%d %s", r.status, r.body)
	}
	s.post("/nowhere", large)
	s.stop() // what is recorded is stored before it ends
	_, last, err := b.Span(t.Context(), subject.StreamReceived)
	if err != nil || last != 4 {
		t.Fatalf("%d records, %v", last, err)
	}
	var got []*event.Received
	for seq := uint64(1); seq <= last; seq++ {
		m, err := b.At(t.Context(), subject.StreamReceived, seq)
		if err != nil {
			t.Fatal(err)
		}
		r, err := bus.DecodeReceived(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"the NEW", "the+NEW", "abc", mac("the NEW", `{"id":"x"}`)} {
			if text := string(encode(t, r)); strings.Contains(text, secret) {
				t.Errorf("the record holds %q: %s", secret, text)
			}
		}
		got = append(got, r)
	}
	r := got[0]
	if r.Verdict != "accepted" || r.Status != 200 || r.Endpoint != "/hooks/github" || string(r.Body) != `{"id":"x"}` || r.Cut ||
		r.Header["X-Plain"][0] != "seen" || len(r.Items) != 1 || r.Items[0].ID != "x" || r.Items[0].Seq == 0 || time.Since(r.At) > time.Hour {
		t.Errorf("%+v", r)
	}
	if r := got[1]; r.Verdict != "unauthorized" || r.Status != 401 || !strings.Contains(r.Error, "is missing: send it as the provider's documentation says") || len(r.Items) != 0 {
		t.Errorf("%+v", r)
	}
	if r := got[3]; r.Verdict != "too_large" || r.Status != 413 || r.Endpoint != "/hooks/github" || !r.Cut || r.BodySize != len(large) || len(r.Body) != 0 {
		t.Errorf("%+v", r)
	}
	if r := got[2]; r.Query != "key=***&a=b" || r.Items[0].ID != "z" {
		t.Errorf("%+v", r)
	}
}
