package bus

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// maxName is in bytes: NATS closes connections over too long a subject.
const maxName = 1 << 10

// Objects is an object store bucket, in the form that NATS defines: `nats object get` reads what is written here, and
// what it puts is read here. The client's own store is not used because it has neither of the two things that are
// needed: a TTL of each object, and reads that see every write acknowledged before.
type Objects struct {
	b      *Bus
	bucket string
}

// Objects gives the object store bucket of that name; it need not exist yet.
func (b *Bus) Objects(bucket string) *Objects { return &Objects{b: b, bucket: bucket} }

// Put stores an object, under a name that none has had before. When it returns, all of it is stored; after an error some
// of it may be. A TTL above zero removes it after that time. What is larger than Options.MaxObject is a fault.TooLarge.
func (o *Objects) Put(ctx context.Context, name string, data []byte, ttl time.Duration) (*event.Object, error) {
	if len(data) > o.b.o.MaxObject {
		return nil, o.tooLarge(uint64(len(data)))
	}
	if len(subject.Key(name)) > maxName {
		return nil, fault.New(fault.TooLarge, "the name of an object is too long", fmt.Sprintf("use ids of less than %d bytes", maxName))
	}
	part := o.b.Inline()
	info := jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(part)}}, //nolint:gosec // small
		Bucket:     o.bucket, NUID: subject.Key(name), Size: uint64(len(data)), Digest: digest(data),
	}
	// One after the other: their order in the stream is that of the object.
	for rest := data; len(rest) > 0; info.Chunks++ {
		n := min(part, len(rest))
		if err := o.put(ctx, &Message{Subject: subject.ObjectParts(o.bucket, info.NUID), Data: rest[:n], TTL: ttl}); err != nil {
			return nil, fmt.Errorf("store an object of %d bytes: %w", len(data), err)
		}
		rest = rest[n:]
	}
	about, err := json.Marshal(info)
	if err != nil {
		return nil, fmt.Errorf("describe the object %s: %w", name, err)
	}
	if _, err := o.b.Publish(ctx, &Message{Subject: subject.ObjectAbout(o.bucket, name), Data: about, Rollup: true, TTL: ttl}); err != nil {
		return nil, fmt.Errorf("store an object of %d bytes: %w", len(data), err)
	}
	return &event.Object{Bucket: o.bucket, Name: name, Size: int64(len(data)), Digest: info.Digest}, nil
}

// partsInFlight bounds the parts of objects that are on their way at once, in either direction. A server that is sent more than
// it can store in time answers none in time, and drops the connection of who cannot take 64 MiB that it has asked for.
const partsInFlight = 32

// carry waits for a place among the parts that are on their way.
func (b *Bus) carry(ctx context.Context) (arrived func(), err error) {
	select {
	case b.parts <- struct{}{}:
		return func() { <-b.parts }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (o *Objects) put(ctx context.Context, part *Message) error {
	arrived, err := o.b.carry(ctx)
	if err != nil {
		return err
	}
	defer arrived()
	_, err = o.b.Publish(ctx, part)
	return err
}

// Get gives an object, or ErrNotFound where it is not there, or not all of it. It sees every write acknowledged before.
// The size and digest of the reference, where it has them, must be the object's.
func (o *Objects) Get(ctx context.Context, ref *event.Object) ([]byte, error) {
	info, err := o.about(ctx, ref.Name)
	if err != nil {
		return nil, err
	}
	if info.Size > uint64(o.b.o.MaxObject) { //nolint:gosec // not below zero
		return nil, o.tooLarge(info.Size)
	}
	data := make([]byte, 0, info.Size)
	from := uint64(1)
	for uint64(len(data)) < info.Size {
		m, err := o.part(ctx, info.NUID, from)
		if errors.Is(err, ErrNotFound) {
			return nil, fmt.Errorf("object %s in bucket %s: %d of %d bytes: %w", ref.Name, o.bucket, len(data), info.Size, ErrNotFound)
		}
		if err != nil {
			return nil, fmt.Errorf("read the object %s: %w", ref.Name, err)
		}
		data, from = append(data, m.Data...), m.Seq+1
	}
	is := digest(data)
	if uint64(len(data)) != info.Size || info.Digest != "" && info.Digest != is ||
		ref.Size != 0 && ref.Size != int64(len(data)) || ref.Digest != "" && ref.Digest != is {
		return nil, fault.New(fault.Internal, fmt.Sprintf("the object %s in bucket %s is not the one that is referred to: it has %d bytes and the digest %s",
			ref.Name, o.bucket, len(data), is), "give every object a name of its own, and write it before the message that refers to it")
	}
	return data, nil
}

// part reads one of an object's messages. They do not change, so any copy will do; only that there is none must not be
// believed of a copy that lags.
func (o *Objects) part(ctx context.Context, id string, from uint64) (*Stored, error) {
	arrived, err := o.b.carry(ctx)
	if err != nil {
		return nil, err
	}
	defer arrived()
	stream, r := subject.ObjectStream(o.bucket), getRequest{Seq: from, NextFor: subject.ObjectParts(o.bucket, id)}
	if m, err := o.b.getDirect(ctx, stream, r, time.Now().Add(o.b.o.PublishTimeout)); err == nil {
		return m, nil
	}
	return o.b.get(ctx, stream, r)
}

// about reads an object's description.
func (o *Objects) about(ctx context.Context, name string) (*jetstream.ObjectInfo, error) {
	m, err := o.b.Last(ctx, subject.ObjectStream(o.bucket), subject.ObjectAbout(o.bucket, name))
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("object %s in bucket %s: %w", name, o.bucket, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read the object %s: %w", name, err)
	}
	info := new(jetstream.ObjectInfo)
	if err := json.Unmarshal(m.Data, info); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the description of the object "+name+" in bucket "+o.bucket+" cannot be read", "")
	}
	switch {
	case info.Deleted:
		return nil, fmt.Errorf("object %s in bucket %s: %w", name, o.bucket, ErrNotFound)
	case info.NUID == "" || info.Opts != nil && info.Opts.Link != nil:
		return nil, fault.New(fault.Internal, "the object "+name+" in bucket "+o.bucket+" is a link, or nothing", "refer to the object itself")
	}
	return info, nil
}

// Delete removes an object, or what there is of one.
func (o *Objects) Delete(ctx context.Context, name string) error {
	id := subject.Key(name)
	info, err := o.about(ctx, name)
	switch {
	case err == nil:
		id = info.NUID
	case !errors.Is(err, ErrNotFound):
		return err
	}
	// The description last: it is what shows that there is something to be deleted.
	for _, subj := range []string{subject.ObjectParts(o.bucket, id), subject.ObjectAbout(o.bucket, name)} {
		var done struct{}
		err := o.b.api(ctx, "STREAM.PURGE."+subject.ObjectStream(o.bucket), map[string]string{"filter": subj}, &done, time.Now().Add(o.b.o.PublishTimeout))
		if err != nil {
			return fmt.Errorf("delete the object %s: %w", name, o.b.readError(err, subject.ObjectStream(o.bucket), subj))
		}
	}
	return nil
}

// discard removes an object that was just written here. It only publishes: a listener may read nothing, and purge nothing.
func (o *Objects) discard(ctx context.Context, name string) error {
	id := subject.Key(name)
	about, err := json.Marshal(jetstream.ObjectInfo{ObjectMeta: jetstream.ObjectMeta{Name: name}, Bucket: o.bucket, NUID: id, Deleted: true})
	if err != nil {
		return fmt.Errorf("describe the object %s: %w", name, err)
	}
	for _, m := range []*Message{
		{Subject: subject.ObjectParts(o.bucket, id), Rollup: true, TTL: time.Second},
		{Subject: subject.ObjectAbout(o.bucket, name), Data: about, Rollup: true, TTL: time.Second},
	} {
		if _, err := o.b.Publish(ctx, m); err != nil {
			return fmt.Errorf("delete the object %s: %w", name, err)
		}
	}
	return nil
}

// Names lists what there is in the bucket, also what is there in part only.
func (o *Objects) Names(ctx context.Context) ([]string, error) {
	stream := subject.ObjectStream(o.bucket)
	s, err := o.b.js.Stream(ctx, stream)
	if err != nil {
		return nil, o.b.readError(err, stream, "")
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return nil, o.b.readError(err, stream, "")
	}
	seen := map[string]bool{}
	var names []string
	for subj := range info.State.Subjects {
		if name, ok := subject.ParseObject(o.bucket, subj); ok && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, nil
}

// Since tells when the first of an object that was written here was stored, or ErrNotFound.
func (o *Objects) Since(ctx context.Context, name string) (time.Time, error) {
	m, err := o.b.Next(ctx, subject.ObjectStream(o.bucket), subject.ObjectParts(o.bucket, subject.Key(name)), 1)
	if errors.Is(err, ErrNotFound) {
		m, err = o.b.Last(ctx, subject.ObjectStream(o.bucket), subject.ObjectAbout(o.bucket, name))
	}
	if err != nil {
		return time.Time{}, err
	}
	return m.Time, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "SHA-256=" + base64.URLEncoding.EncodeToString(sum[:])
}

func (o *Objects) tooLarge(size uint64) error {
	return fault.New(fault.TooLarge, fmt.Sprintf("%d bytes are more than is kept in one piece (streams.max_object)", size),
		fmt.Sprintf("send at most %d bytes", o.b.o.MaxObject))
}

// leastInline is in a message whatever is set: an object has messages, too.
const leastInline = 1 << 10

// Inline is the most that a message's payload has, in bytes: what is larger goes to the object store.
func (b *Bus) Inline() int { return int(b.inline.Load()) }

// measure learns what the server takes. A quarter is left for headers.
func (b *Bus) measure(maxPayload int64) {
	b.inline.Store(max(leastInline, min(int64(b.o.MaxInline), maxPayload/4*3)))
}
