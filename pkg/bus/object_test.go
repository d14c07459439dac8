package bus_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// noise is data that nothing can guess.
func noise(n int) []byte {
	data := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(data)
	return data
}

func names(t *testing.T, o *bus.Objects) []string {
	t.Helper()
	all, err := o.Names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func TestObjects(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bus.Bus, url string) {
		t.Helper()
		ctx := t.Context()
		o := b.Objects(subject.BucketDocuments)
		_, js := foreign(t, url)
		other, err := js.ObjectStore(ctx, subject.BucketDocuments)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 1, 512 << 10, 512<<10 + 1, 3 << 20} {
			name, data := "odd id/ö."+string(rune('a'+size%7)), noise(size)
			ref, err := o.Put(ctx, name, data, 0)
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			// What was acknowledged is there, on three servers as well, and for NATS's own client.
			if got, err := o.Get(ctx, ref); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes: read %d, %v", size, len(got), err)
			}
			eventually(t, "another client reads the object", func() bool {
				got, err := other.GetBytes(ctx, name)
				return err == nil && bytes.Equal(got, data)
			})
			if since, err := o.Since(ctx, name); err != nil || time.Since(since) > time.Minute {
				t.Errorf("%d bytes: since %v, %v", size, since, err)
			}
			if got := names(t, o); !slices.Equal(got, []string{name}) {
				t.Errorf("%d bytes: names %q", size, got)
			}
			if err := o.Delete(ctx, name); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
			if _, err := o.Get(ctx, ref); !errors.Is(err, bus.ErrNotFound) {
				t.Errorf("%d bytes: a deleted object: %v", size, err)
			}
			if got := names(t, o); len(got) > 0 {
				t.Errorf("%d bytes: left of it %q", size, got)
			}
		}
		if err := o.Delete(ctx, "never was"); err != nil {
			t.Errorf("deleting nothing: %v", err)
		}
	})
}

func TestAForeignObject(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{})
	ctx := t.Context()
	_, js := foreign(t, s.URL())
	store, err := js.ObjectStore(ctx, subject.BucketPayloads)
	if err != nil {
		t.Fatal(err)
	}
	data := noise(1 << 20)
	if _, err := store.PutBytes(ctx, "theirs", data); err != nil {
		t.Fatal(err)
	}
	o := b.Objects(subject.BucketPayloads)
	if got, err := o.Get(ctx, &event.Object{Name: "theirs"}); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	for _, ref := range []event.Object{{Name: "theirs", Size: 7}, {Name: "theirs", Digest: "SHA-256=no"}} {
		_, err := o.Get(ctx, &ref)
		wantCode(t, err, fault.Internal)
	}
	info, err := store.GetInfo(ctx, "theirs")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.AddLink(ctx, "link", info); err != nil {
		t.Fatal(err)
	}
	_, err = o.Get(ctx, &event.Object{Name: "link"})
	wantCode(t, err, fault.Internal)
	if err := o.Delete(ctx, "theirs"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.GetBytes(ctx, "theirs"); err == nil {
		t.Error("a deleted object is read")
	}
	if err := store.Delete(ctx, "link"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Get(ctx, &event.Object{Name: "link"}); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("what its own client has deleted: %v", err)
	}
}

// An object of which only a part was written is none, but it can be found and deleted.
func TestAPartOfAnObject(t *testing.T) {
	s := bustest.Start(t)
	b := s.Provisioned(bus.Layout{})
	ctx := t.Context()
	o := b.Objects(subject.BucketDocuments)
	publish(t, b, &bus.Message{Subject: subject.ObjectParts(subject.BucketDocuments, "begun"), Data: noise(10)})
	if _, err := o.Get(ctx, &event.Object{Name: "begun"}); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("without a description: %v", err)
	}
	ref, err := o.Put(ctx, "whole", noise(1200<<10), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, js := foreign(t, s.URL())
	stream, err := js.Stream(ctx, subject.ObjectStream(subject.BucketDocuments))
	if err != nil {
		t.Fatal(err)
	}
	m, err := b.Next(ctx, subject.ObjectStream(subject.BucketDocuments), subject.ObjectParts(subject.BucketDocuments, "whole"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(ctx, m.Seq); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Get(ctx, ref); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("with a part missing: %v", err)
	}
	if got := names(t, o); !slices.Equal(got, []string{"begun", "whole"}) {
		t.Errorf("names %q", got)
	}
	for _, name := range names(t, o) {
		if err := o.Delete(ctx, name); err != nil {
			t.Error(err)
		}
	}
	if got := names(t, o); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

func TestObjectsEndWithTheirTTL(t *testing.T) {
	b := bustest.Start(t).Provisioned(bus.Layout{})
	o := b.Objects(subject.BucketPayloads)
	if _, err := o.Put(t.Context(), "short", noise(1200<<10), time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Put(t.Context(), "long", noise(10), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the object has gone, with all its parts", func() bool { return slices.Equal(names(t, o), []string{"long"}) })
}
