package bus

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nuid"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// A payload that is too large for a message lies in the object store, and the message refers to it by a header: a claim
// check. The object is written before the message. It outlives the message, so that the message never refers to nothing;
// one that was written for a message that has never come goes by its age.

// objectSlack is how much longer an object is kept than the message that refers to it.
const objectSlack = time.Hour

// publishLarge stores a message's payload in the object store, and then the message, which refers to it.
func (b *Bus) publishLarge(ctx context.Context, o *outgoing, kind string, ttl time.Duration) (Ack, error) {
	objects := b.Objects(subject.BucketPayloads)
	ref, err := objects.Put(ctx, kind+"."+nuid.Next(), o.msg.Data, ttl)
	if err != nil {
		return Ack{}, err
	}
	o.msg.Data = nil
	o.set(subject.HeaderObject, ref.Name)
	o.set(subject.HeaderObjectSize, strconv.FormatInt(ref.Size, 10))
	o.set(subject.HeaderObjectDigest, ref.Digest)
	a, err := b.publish(ctx, o)
	if err == nil && a.Duplicate && !b.checkOnly.Load() {
		// The message stored before has an object of its own. Where this fails, or is not this user's to do, its age removes it.
		_ = objects.discard(ctx, ref.Name)
	}
	return a, err
}

// Reference gives the object that a message's headers refer to, or nil.
func Reference(h Header) *event.Object {
	name := h[subject.HeaderObject]
	if name == "" {
		return nil
	}
	size, err := strconv.ParseInt(h[subject.HeaderObjectSize], 10, 64)
	if err != nil || size < 0 {
		size = 0 // not given
	}
	return &event.Object{Bucket: subject.BucketPayloads, Name: name, Size: size, Digest: h[subject.HeaderObjectDigest]}
}

// Payload gives what a message refers to. That it is not there is believed only after PublishTimeout: a leader that is
// none any more may not have it yet, and other clients may write it late.
func (b *Bus) Payload(ctx context.Context, ref *event.Object) ([]byte, error) {
	deadline := time.Now().Add(b.o.PublishTimeout)
	var wait backoff
	for {
		data, err := b.Objects(ref.Bucket).Get(ctx, ref)
		if !errors.Is(err, ErrNotFound) {
			return data, err
		}
		if wait.sleep(ctx, deadline) != nil {
			return nil, err
		}
	}
}

// LoadResult gives a callback the result that it refers to.
func (b *Bus) LoadResult(ctx context.Context, cb *event.Callback) error {
	if cb.Object == nil {
		return nil
	}
	data, err := b.Payload(ctx, cb.Object)
	if err != nil {
		return err
	}
	cb.Result, cb.Object = payload(data), nil
	return nil
}
