package listener

import (
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
	"github.com/switchbackhq/switchback/pkg/fault"
)

// Bounds of the record.
const (
	recordQueue = 4096      // records that wait to be stored,
	recordBytes = 32 << 20  // and their bytes together
	recordBatch = 256       // stored for one acknowledgement
	recordBody  = 256 << 10 // kept of a body
	recordItems = 100       // listed of a request
	recordClose = 5 * time.Second
)

// masked stands for a secret.
var masked = []byte("***")

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

// entry is a request on its way to its record. It is reused.
type entry struct {
	subject string
	message []byte // as it is stored

	// What the message is made from, and not kept longer.
	about    event.Received
	header   []event.HeaderField
	secret   []string                      // headers to be masked besides those that are known
	addField func(name, value []byte) bool // a bound method is made once
}

func newRecorder(store Store, m *metrics, log *slog.Logger) *recorder {
	r := &recorder{
		store: store, queue: make(chan *entry, recordQueue), log: log, storm: rate.Sometimes{First: 1, Interval: 10 * time.Second},
		stored: m.records.WithLabelValues("stored"), dropped: m.records.WithLabelValues("dropped"), lost: m.records.WithLabelValues("lost"),
	}
	r.entries.New = func() any {
		e := new(entry)
		e.addField = e.field
		return e
	}
	return r
}

// add takes note of a request that has been answered. It copies what it keeps, and never waits.
func (r *recorder) add(s *server, j *job, v verdict, status int) {
	e := r.entries.Get().(*entry) //nolint:forcetypeassert // made by New
	e.write(s, j, v, status)
	size := int64(len(e.message))
	if r.pending.Add(size) > recordBytes {
		r.drop(e)
		return
	}
	select {
	case r.queue <- e:
	default:
		r.drop(e)
	}
}

// write makes the message of the record.
func (e *entry) write(s *server, j *job, v verdict, status int) {
	e.subject, e.secret = j.endpoint.records[v], j.endpoint.masks.Headers
	e.about = event.Received{
		ID: j.ID, At: j.ReceivedAt, Listener: s.conf.ID, Endpoint: j.endpoint.Path, Method: j.Method, Path: j.Path, Remote: j.Remote,
		Verdict: string(v), Status: status, BodySize: max(len(j.Body), j.unread), Items: e.about.Items[:0], Masked: e.about.Masked[:0],
	}
	e.about.Query = e.plainQuery(j)
	if j.err != nil {
		if e.about.Error = detail(j.err); fault.HintOf(j.err) != "" {
			e.about.Error += ": " + fault.HintOf(j.err)
		}
	}
	for i := range j.fates {
		if i == recordItems {
			e.about.More = len(j.fates) - i
			break
		}
		f := &j.fates[i]
		item := event.ReceivedItem{ID: f.id, Outcome: f.outcome, Seq: f.seq, Run: f.run, Duplicate: f.duplicate}
		if f.err != nil {
			item.Error = f.reason()
		}
		e.about.Items = append(e.about.Items, item)
	}
	e.header = e.header[:0]
	j.Header.All()(e.addField)
	if s.conf.Record == "full" {
		e.about.Body = j.Body[:min(len(j.Body), recordBody)]
	}
	e.about.Cut = len(e.about.Body) < e.about.BodySize
	e.message = bus.AppendReceived(e.message[:0], &e.about, e.header)
	// Nothing may refer to the request, which is used again.
	clear(e.about.Items)
	clear(e.header)
	e.about.Body = nil
}

// field takes one line of the header.
func (e *entry) field(name, text []byte) bool {
	if secretName(name) || containsFold(e.secret, name) {
		text = masked
		e.mask(string(name))
	}
	e.header = append(e.header, event.HeaderField{Name: name, Value: text})
	return true
}

func (r *recorder) drop(e *entry) {
	r.giveBack(e)
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
	if wait {
		_, err := r.store.Publish(ctx, &bus.Message{Subject: e.subject, Data: e.message})
		return err
	}
	return r.store.Notify(e.subject, nil, e.message)
}

func (r *recorder) giveBack(e *entry) {
	r.pending.Add(-int64(len(e.message)))
	if cap(e.message) <= keepRecord {
		r.entries.Put(e)
	}
}

// keepRecord bounds what a reused entry holds on to.
const keepRecord = 64 << 10

// mask notes whose value is not kept.
func (e *entry) mask(name string) {
	if !slices.Contains(e.about.Masked, name) {
		e.about.Masked = append(e.about.Masked, name)
	}
}

// plainQuery is the query without its secrets.
func (e *entry) plainQuery(j *job) string {
	if j.Query == "" {
		return ""
	}
	pairs := strings.Split(j.Query, "&")
	for i, pair := range pairs {
		name, _, given := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); given && (err != nil || secretName([]byte(plain)) || containsFold(j.endpoint.masks.Query, []byte(plain))) {
			pairs[i] = name + "=" + string(masked)
			e.mask("?" + name)
		}
	}
	return strings.Join(pairs, "&")
}

func containsFold(names []string, name []byte) bool {
	return slices.ContainsFunc(names, func(n string) bool { return len(n) == len(name) && strings.EqualFold(n, string(name)) })
}

// secretParts are what names have in them that are known to carry secrets, or signatures that could be used again.
var secretParts = [...]string{"authorization", "cookie", "signature", "hmac", "token", "secret", "password", "api-key", "apikey", "api_key"}

// secretName tells such names, in whatever case.
func secretName(name []byte) bool {
	for _, part := range secretParts {
		for i := range len(name) - len(part) + 1 {
			if name[i]|0x20 == part[0] && strings.EqualFold(string(name[i:i+len(part)]), part) {
				return true
			}
		}
	}
	return false
}
