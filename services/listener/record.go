package listener

import (
	"bytes"
	"context"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
)

// Bounds of the record.
const (
	recordQueue = 4096      // records that wait to be stored,
	recordBytes = 32 << 20  // and their bytes together
	recordBatch = 256       // stored for one acknowledgement
	recordBody  = 256 << 10 // kept of a body
	recordItems = 100       // listed of a request
	recordClose = 5 * time.Second
	masked      = "***"
)

// recorder keeps a record of each request, behind the answer and never in its way: what finds no room is dropped and
// counted.
type recorder struct {
	store   Store
	queue   chan *entry
	pending atomic.Int64 // bytes
	entries sync.Pool    // of *entry
	log     *slog.Logger
	storm   rate.Sometimes

	stored, dropped, lost prometheus.Counter
}

// entry is a request on its way to its record.
type entry struct {
	event.Received

	endpoint *endpoint
	header   []byte // name, line feed, value, line feed, …
	body     []byte
}

func newRecorder(store Store, m *metrics, log *slog.Logger) *recorder {
	r := &recorder{
		store: store, queue: make(chan *entry, recordQueue), log: log, storm: rate.Sometimes{First: 1, Interval: 10 * time.Second},
		stored: m.records.WithLabelValues("stored"), dropped: m.records.WithLabelValues("dropped"), lost: m.records.WithLabelValues("lost"),
	}
	r.entries.New = func() any { return new(entry) }
	return r
}

// add takes note of a request that has been answered. It copies what it keeps, and never waits.
func (r *recorder) add(s *server, j *job, v verdict, status int) {
	size := int64(min(len(j.Body), recordBody))
	if r.pending.Add(size) > recordBytes {
		r.drop(size)
		return
	}
	e := r.entries.Get().(*entry) //nolint:forcetypeassert // made by New
	e.Received = event.Received{
		ID: j.ID, At: j.ReceivedAt, Listener: s.conf.ID, Endpoint: j.endpoint.Path, Method: j.Method, Path: j.Path, Query: j.Query,
		Remote: j.Remote.String(), Verdict: string(v), Status: status, BodySize: len(j.Body), Items: e.Items[:0],
	}
	e.endpoint, e.header, e.body = j.endpoint, e.header[:0], e.body[:0]
	if j.err != nil {
		e.Error = detail(j.err)
	}
	for i := range j.fates {
		if i == recordItems {
			e.More = len(j.fates) - i
			break
		}
		f := &j.fates[i]
		item := event.ReceivedItem{ID: strings.Clone(f.id), Outcome: f.outcome, Seq: f.seq, Run: f.run, Duplicate: f.duplicate}
		if f.err != nil {
			item.Error = f.reason()
		}
		e.Items = append(e.Items, item)
	}
	for name, v := range j.Header.All() {
		e.header = append(append(append(append(e.header, name...), '\n'), v...), '\n')
	}
	if s.conf.Record == "full" {
		e.body = append(e.body, j.Body[:size]...)
	}
	e.Cut = len(e.body) < len(j.Body)
	e.Body = e.body
	select {
	case r.queue <- e:
	default:
		r.giveBack(e)
		r.drop(size)
	}
}

func (r *recorder) drop(size int64) {
	r.pending.Add(-size)
	r.dropped.Inc()
	r.storm.Do(func() { r.log.Warn("records of requests are dropped: they come faster than NATS stores them") })
}

// run stores what is added until the queue is closed. Of each batch the last is acknowledged, and NATS keeps the order:
// when it is there, so is what was sent before it.
func (r *recorder) run(ctx context.Context) {
	for e := range r.queue {
		n := 1
		var err error
		for ; n < recordBatch; n++ {
			var next *entry
			select {
			case next = <-r.queue:
			default:
			}
			if next == nil {
				break
			}
			if failed := r.send(ctx, e, false); failed != nil {
				err = failed
			}
			e = next
		}
		if failed := r.send(ctx, e, true); failed != nil {
			err = failed
		}
		if err == nil {
			r.stored.Add(float64(n))
			continue
		}
		r.lost.Add(float64(n))
		r.storm.Do(func() { r.log.Warn("requests are not recorded", slog.Any("error", err)) })
	}
}

func (r *recorder) send(ctx context.Context, e *entry, wait bool) error {
	defer r.giveBack(e)
	r.pending.Add(-int64(min(e.BodySize, recordBody)))
	e.mask()
	m, err := bus.ReceivedMessage(&e.Received)
	if err != nil {
		return err
	}
	if wait {
		_, err = r.store.Publish(ctx, m)
		return err
	}
	return r.store.Notify(m.Subject, m.Header, m.Data)
}

func (r *recorder) giveBack(e *entry) {
	clear(e.Items)
	if cap(e.body) > keepRecord || cap(e.header) > keepRecord {
		return
	}
	e.Received, e.endpoint = event.Received{Items: e.Items[:0]}, nil
	r.entries.Put(e)
}

// keepRecord bounds what a reused entry holds on to.
const keepRecord = 64 << 10

// mask writes header and query without their secrets.
func (e *entry) mask() {
	e.Header = map[string][]string{}
	for rest := e.header; len(rest) > 0; {
		var name, v []byte
		name, rest, _ = bytes.Cut(rest, []byte{'\n'})
		v, rest, _ = bytes.Cut(rest, []byte{'\n'})
		key, text := string(name), string(v)
		if secretName(key) || containsFold(e.endpoint.masks.Headers, key) {
			if text = masked; !slices.Contains(e.Masked, key) {
				e.Masked = append(e.Masked, key)
			}
		}
		e.Header[key] = append(e.Header[key], text)
	}
	if e.Query == "" {
		return
	}
	pairs := strings.Split(e.Query, "&")
	for i, pair := range pairs {
		name, _, given := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); given && (err != nil || secretName(plain) || containsFold(e.endpoint.masks.Query, plain)) {
			pairs[i] = name + "=" + masked
			e.Masked = append(e.Masked, "?"+name)
		}
	}
	e.Query = strings.Join(pairs, "&")
}

func containsFold(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// secretName tells names that are known to carry secrets, or signatures that could be used again.
func secretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"authorization", "cookie", "signature", "hmac", "token", "secret", "password", "api-key", "apikey", "api_key"},
		func(part string) bool { return strings.Contains(name, part) })
}
