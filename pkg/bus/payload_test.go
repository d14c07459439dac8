package bus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// bigJSON is a JSON string of about n bytes.
func bigJSON(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("x", n) + `"`) }

func TestLargePayloads(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, url string) {
		t.Helper()
		ctx := t.Context()
		o := b.Objects(subject.BucketPayloads)

		small, large := bigJSON(512<<10-2), bigJSON(3<<20)
		if _, err := b.PublishCallback(ctx, &event.Callback{ID: "small", Result: small}); err != nil {
			t.Fatal(err)
		}
		if m := stored(t, b, "callback.small"); len(m.Data) != len(small) || len(names(t, o)) != 0 {
			t.Errorf("a callback of 512 KiB: %d bytes in the message, objects %q", len(m.Data), names(t, o))
		}
		cb := event.Callback{ID: "large", Result: large, DeliveryID: "d", Outcome: event.Failed, Error: "no"}
		first, err := b.PublishCallback(ctx, &cb)
		if err != nil {
			t.Fatal(err)
		}
		m := stored(t, b, "callback.large")
		if len(m.Data) != 0 || m.Header["Switchback-Object-Size"] != "3145730" || m.Header["Nats-TTL"] != "259200s" {
			t.Errorf("a callback of 3 MiB: %d bytes in the message, header %v", len(m.Data), m.Header)
		}
		got, err := bus.DecodeCallback(m)
		if err != nil || got.Object == nil || got.Outcome != event.Failed || got.Error != "no" {
			t.Fatalf("%+v, %v", got, err)
		}
		if err := b.LoadResult(ctx, got); err != nil || !bytes.Equal(got.Result, large) {
			t.Errorf("read %d bytes, %v", len(got.Result), err)
		}
		before := names(t, o)
		if a, err := b.PublishCallback(ctx, &cb); err != nil || !a.Duplicate || a.Seq != first.Seq {
			t.Errorf("the same delivery again: %+v, %v", a, err)
		}
		if len(before) != 1 {
			t.Errorf("there are the objects %q", before)
		}
		eventually(t, "the second one's object has gone", func() bool { return slices.Equal(before, names(t, o)) })

		if _, err := b.PublishRunRequest(ctx, &event.RunRequest{Workflow: "w", Input: large}); err != nil {
			t.Fatal(err)
		}
		m, err = b.Last(ctx, subject.StreamRuns, subject.RunRequest("w"))
		if err != nil {
			t.Fatal(err)
		}
		req, err := bus.DecodeRunRequest(m)
		if err != nil || req.Object == nil || len(req.Input) != 0 {
			t.Fatalf("%+v, %v", req, err)
		}
		if input, err := b.Payload(ctx, req.Object); err != nil || !bytes.Equal(input, large) {
			t.Errorf("read %d bytes, %v", len(input), err)
		}

		_, err = b.PublishCallback(ctx, &event.Callback{ID: "huge", Result: bigJSON(64 << 20)})
		wantCode(t, err, fault.TooLarge)

		// Another client's reference, in the least that it has to say; its payload is no JSON, and comes late.
		nc, js := foreign(t, url)
		theirs := nats.NewMsg("callback.theirs")
		theirs.Header.Set("Switchback-Object", "theirs")
		if err := nc.PublishMsg(theirs); err != nil {
			t.Fatal(err)
		}
		eventually(t, "their callback is there", func() bool { return stored(t, b, "callback.theirs") != nil })
		if got, err = bus.DecodeCallback(stored(t, b, "callback.theirs")); err != nil {
			t.Fatal(err)
		}
		loaded := make(chan error, 1)
		go func() { loaded <- b.LoadResult(ctx, got) }()
		store, err := js.ObjectStore(ctx, subject.BucketPayloads)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.PutString(ctx, "theirs", "no JSON"); err != nil {
			t.Fatal(err)
		}
		if err := <-loaded; err != nil || string(got.Result) != `"no JSON"` {
			t.Errorf("%s, %v", got.Result, err)
		}
	})
}

// What is in a message is bounded by what the server takes, also after it has been started anew with less.
func TestInlineFollowsTheServer(t *testing.T) {
	s := bustest.Start(t, func(o *server.Options) { o.MaxPayload = 64 << 10 })
	b := s.Provisioned(bus.Layout{})
	if b.Inline() != 48<<10 {
		t.Errorf("inline %d where the server takes 64 KiB", b.Inline())
	}
	if _, err := b.PublishCallback(t.Context(), &event.Callback{ID: "a", Result: bigJSON(200 << 10)}); err != nil {
		t.Fatal(err)
	}
	got, err := bus.DecodeCallback(stored(t, b, "callback.a"))
	if err == nil {
		err = b.LoadResult(t.Context(), got)
	}
	if err != nil || len(got.Result) != 200<<10+2 {
		t.Errorf("%d bytes, %v", len(got.Result), err)
	}
	own := bustest.Connect(t, bus.Options{URL: s.URL(), MaxInline: 2000})
	if own.Inline() != 2000 {
		t.Errorf("inline %d, want 2000", own.Inline())
	}
}

func TestAPayloadThatNeverComes(t *testing.T) {
	s := bustest.Start(t)
	s.Provisioned(bus.Layout{})
	b := bustest.Connect(t, bus.Options{URL: s.URL(), PublishTimeout: 100 * time.Millisecond})
	_, err := b.Payload(t.Context(), &event.Object{Bucket: subject.BucketPayloads, Name: "nowhere"})
	if !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Payload(ctx, &event.Object{Bucket: subject.BucketPayloads, Name: "nowhere"}); err == nil {
		t.Error("no error after ctx has ended")
	}
}
