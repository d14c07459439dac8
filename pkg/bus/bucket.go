package bus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

const (
	hdrKVOperation = "KV-Operation"
	markerTTL      = time.Minute // of a deleted key's marker: watchers see it, then it goes too
)

// Bucket is a key-value bucket. Keys are ids: they are escaped here.
type Bucket struct {
	b    *Bus
	name string
}

// Entry is a key's value.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	Time     time.Time
	Deleted  bool // only from Watch: the key has gone
}

// Bucket gives the bucket of that name; it need not exist yet.
func (b *Bus) Bucket(name string) *Bucket { return &Bucket{b: b, name: name} }

func (k *Bucket) subject(key string) string { return subject.BucketKey(k.name, key) }

func (k *Bucket) stream() string { return subject.BucketStream(k.name) }

// Get gives the key's value, or ErrNotFound. It sees every write acknowledged before.
func (k *Bucket) Get(ctx context.Context, key string) (*Entry, error) {
	m, err := k.b.Last(ctx, k.stream(), k.subject(key))
	if err != nil {
		return nil, err
	}
	if Removed(m) {
		return nil, fmt.Errorf("key %s in bucket %s: %w", key, k.name, ErrNotFound)
	}
	return &Entry{Key: key, Value: m.Data, Revision: m.Seq, Time: m.Time}, nil
}

// Removal is the marker of a key that has gone, as every client of a bucket knows it. The marker itself goes after ttl.
func Removal(subj string, ttl time.Duration) *Message {
	return &Message{Subject: subj, Header: Header{hdrKVOperation: "PURGE"}, Rollup: true, TTL: ttl}
}

// Removed tells the marker of a key that has gone from a value, among the messages of a bucket's stream.
func Removed(m *Stored) bool {
	return m.Header[hdrKVOperation] != "" || m.Header["Nats-Marker-Reason"] != ""
}

// Put sets the key and gives its revision. A TTL above zero removes it after that time.
func (k *Bucket) Put(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	a, err := k.b.Publish(ctx, &Message{Subject: k.subject(key), Data: value, TTL: ttl})
	return a.Seq, err
}

// Create sets a key that does not exist, or gives ErrConflict.
func (k *Bucket) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	rev, err := k.Update(ctx, key, value, 0, ttl)
	if !errors.Is(err, ErrConflict) {
		return rev, err
	}
	m, lerr := k.b.Last(ctx, k.stream(), k.subject(key))
	switch {
	case errors.Is(lerr, ErrNotFound):
		return k.Update(ctx, key, value, 0, ttl)
	case lerr != nil:
		return 0, lerr
	case Removed(m):
		return k.Update(ctx, key, value, m.Seq, ttl)
	}
	return 0, err
}

// Update sets the key when its revision is rev (zero: when it was never set), or gives ErrConflict.
func (k *Bucket) Update(ctx context.Context, key string, value []byte, rev uint64, ttl time.Duration) (uint64, error) {
	a, err := k.b.Publish(ctx, &Message{Subject: k.subject(key), Data: value, TTL: ttl, Expect: &Expect{Seq: rev}})
	return a.Seq, err
}

// Delete removes the key; one that does not exist is no error.
func (k *Bucket) Delete(ctx context.Context, key string) error {
	_, err := k.b.Publish(ctx, Removal(k.subject(key), markerTTL))
	return err
}

// DeleteAt removes the key when its revision is rev, or gives ErrConflict.
func (k *Bucket) DeleteAt(ctx context.Context, key string, rev uint64) error {
	m := Removal(k.subject(key), markerTTL)
	m.Expect = &Expect{Seq: rev}
	_, err := k.b.Publish(ctx, m)
	return err
}

// All goes through the keys that match filter ("" for all; wildcards as in NATS, the rest escaped by subject.Key).
func (k *Bucket) All(ctx context.Context, filter string) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		w, err := k.watch(ctx, filter, jetstream.IgnoreDeletes())
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() { _ = w.Stop() }()
		for {
			select {
			case <-ctx.Done():
				yield(nil, context.Cause(ctx))
				return
			case e := <-w.Updates():
				if e == nil || !yield(entry(e), nil) {
					return
				}
			}
		}
	}
}

// Watch calls f for every matching key as it is now, then with nil, then for every change, until ctx ends. After a
// reconnect it looks anew: f sees again what there is, what has gone meanwhile as deleted, and nil once more.
func (k *Bucket) Watch(ctx context.Context, filter string, f func(e *Entry)) error {
	known := map[string]bool{}
	for {
		reconnected := k.b.onReconnect()
		w, err := k.watch(ctx, filter)
		if err == nil {
			err = k.follow(ctx, w, known, reconnected, f)
			_ = w.Stop() // of a connection that may be gone
			if err == nil && ctx.Err() == nil {
				continue
			}
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whatever failed, we were told to end
		}
		if err == nil || k.b.nc.IsClosed() || isFinal(err) {
			return err
		}
		k.b.log.Warn("cannot watch a bucket; trying again", slog.String("bucket", k.name), slog.Any("error", err))
		select {
		case <-ctx.Done():
			return nil
		case <-reconnected:
		case <-time.After(maxRetryWait):
		}
	}
}

// isFinal tells errors that trying again does not mend.
func isFinal(err error) bool {
	return errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrBadBucket) || errors.Is(err, errClosed)
}

// follow hands on what a watcher brings, until the connection has been made anew.
func (k *Bucket) follow(ctx context.Context, w jetstream.KeyWatcher, known map[string]bool, reconnected <-chan struct{}, f func(e *Entry)) error {
	missing := maps.Clone(known)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reconnected:
			return nil
		case u, open := <-w.Updates():
			switch {
			case !open:
				return errClosed
			case u == nil:
				for key := range missing {
					delete(known, key)
					f(&Entry{Key: key, Deleted: true})
				}
				missing = nil
				f(nil)
				continue
			}
			e := entry(u)
			delete(missing, e.Key)
			if e.Deleted {
				delete(known, e.Key)
			} else {
				known[e.Key] = true
			}
			f(e)
		}
	}
}

func (k *Bucket) watch(ctx context.Context, filter string, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	if filter == "" {
		filter = ">"
	}
	kv, err := k.b.js.KeyValue(ctx, k.name)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "cannot read bucket "+k.name, "")
	}
	w, err := kv.Watch(ctx, filter, opts...)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "cannot watch bucket "+k.name, "")
	}
	return w, nil
}

func entry(e jetstream.KeyValueEntry) *Entry {
	key, err := subject.ParseKey(e.Key())
	if err != nil {
		key = e.Key() // put there by someone else
	}
	return &Entry{Key: key, Value: e.Value(), Revision: e.Revision(), Time: e.Created(), Deleted: e.Operation() != jetstream.KeyValuePut}
}
