package bus_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

func TestSurvey(t *testing.T) {
	s := bustest.Start(t)
	b := s.Connect()
	plan := bus.Layout{}.Items()
	before, err := b.Survey(t.Context(), bus.Layout{})
	if err != nil || len(before) != len(plan) {
		t.Fatalf("%d items, %v; want %d", len(before), err, len(plan))
	}
	for i, it := range before {
		if it.State != bus.Missing || it.Stream != plan[i].Stream || it.Consumer != plan[i].Consumer {
			t.Errorf("before: %s/%s is %s", it.Stream, it.Consumer, it.State)
		}
	}
	if err := b.Provision(t.Context(), bus.Layout{}); err != nil {
		t.Fatal(err)
	}
	// Others are wanted: what is there is told, and left as it is.
	other := bus.Layout{KeepReceived: time.Hour, AckWait: time.Minute}
	for range 2 {
		after, err := b.Survey(t.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range after {
			want := ""
			switch {
			case it.Stream == subject.StreamReceived:
				want = "max_age: want 1h0m0s, have 72h0m0s"
			case it.Consumer != "":
				want = "ack_wait: want 1m0s, have 30s"
			}
			if got := strings.Join(it.Differences, "; "); got != want || (it.State == bus.Differs) != (want != "") {
				t.Errorf("%s/%s: %s, %q; want %q", it.Stream, it.Consumer, it.State, got, want)
			}
		}
		if err := b.Provision(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	some, err := b.Survey(t.Context(), bus.Layout{}, subject.StreamDead)
	if err != nil || len(some) != 1 || some[0].Stream != subject.StreamDead {
		t.Errorf("%+v, %v", some, err)
	}
}

// Records alone may be written behind their publishing, and only where one server has them. How a stream is written cannot be
// changed: one of an older version is left as it is, and is no difference.
func TestPersistMode(t *testing.T) {
	for name, c := range map[string]struct {
		layout bus.Layout
		async  []string
	}{
		"one server":    {bus.Layout{}, []string{subject.StreamReceived}},
		"three servers": {bus.Layout{Replicas: 3}, nil},
		"in memory":     {bus.Layout{Memory: true}, nil},
		"edge":          {bus.Layout{Edge: true}, []string{subject.StreamReceived}},
	} {
		var async []string
		for _, it := range c.layout.Items() {
			if strings.Contains(string(it.Config), `"persist_mode":"async"`) {
				async = append(async, it.Stream)
			}
		}
		if !slices.Equal(async, c.async) {
			t.Errorf("%s: async are %v, want %v", name, async, c.async)
		}
	}

	s := bustest.Start(t)
	b := s.Connect()
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	older := jetstream.StreamConfig{
		Name: subject.StreamReceived, Subjects: []string{subject.AllReceived}, MaxAge: 72 * time.Hour, MaxBytes: 1 << 30, AllowDirect: true, AllowMsgTTL: true,
	}
	if _, err := js.CreateStream(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	if err := b.Provision(t.Context(), bus.Layout{}); err != nil {
		t.Fatal(err)
	}
	items, err := b.Survey(t.Context(), bus.Layout{}, subject.StreamReceived)
	if err != nil || len(items) != 1 || items[0].State != bus.There {
		t.Errorf("%+v, %v", items, err)
	}
}

// edgeOf has a stream for each side; both take callbacks, so they are on two servers.
func TestProvisionEdge(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{Edge: true})
	items, err := b.Survey(t.Context(), bus.Layout{Edge: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		if it.State != bus.There {
			t.Errorf("%s/%s is %s: %v", it.Stream, it.Consumer, it.State, it.Differences)
		}
	}
	if err := b.Ready(t.Context()); err != nil {
		t.Errorf("ready for callbacks and run requests: %v", err)
	}
}

func restricted(o *server.Options) {
	o.Users = []*server.User{
		{Username: "admin", Password: "p"},
		{Username: "service", Password: "p", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"callback.>", "$JS.API.STREAM.INFO.RECEIVED"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_service.>"}},
		}},
	}
}

func as(s *bustest.Server, user string, probe ...string) bus.Options {
	return bus.Options{URL: s.URL(), Login: bus.Login{User: user, Password: "p", InboxPrefix: "_INBOX_" + user}, Probe: probe}
}

// A user who may not make streams is told so at once, and what to do.
func TestProvisionForbidden(t *testing.T) {
	s := bustest.Start(t, restricted)
	b := bustest.Connect(t, as(s, "service"))
	err := b.Provision(t.Context(), bus.Layout{})
	wantCode(t, err, fault.Forbidden) // a request that was waited for until its time was over would be another
	if hint := fault.HintOf(err); !strings.Contains(hint, "SWITCHBACK_STREAMS_PROVISION=check") {
		t.Errorf("hint %q", hint)
	}
}

// Check waits for what another user makes, and makes nothing itself.
func TestCheck(t *testing.T) {
	s := bustest.Start(t, restricted)
	b := bustest.Connect(t, as(s, "service", "callback.probe"))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	wantCode(t, b.Check(ctx, bus.Layout{}, subject.StreamReceived), fault.Unavailable)

	checked := make(chan error, 1)
	go func() { checked <- b.Check(t.Context(), bus.Layout{}, subject.StreamReceived) }()
	admin := bustest.Connect(t, as(s, "admin"))
	if err := admin.Provision(t.Context(), bus.Layout{}); err != nil {
		t.Fatal(err)
	}
	if err := <-checked; err != nil {
		t.Errorf("after the streams were made: %v", err)
	}
	// What it may not even look at is no reason to wait.
	wantCode(t, b.Check(t.Context(), bus.Layout{}, subject.StreamRuns), fault.Forbidden)
	denied := bustest.Connect(t, as(s, "service", "run.request.probe"))
	wantCode(t, denied.Check(t.Context(), bus.Layout{}), fault.Forbidden)
}
