package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// getRequest asks a stream for one message. The fields that are set say which.
type getRequest struct {
	Seq       uint64   `json:"seq,omitempty"`
	LastFor   string   `json:"last_by_subj,omitempty"`
	NextFor   string   `json:"next_by_subj,omitempty"`
	MultiLast []string `json:"multi_last,omitempty"`
}

// Last gives the last message on a literal subject, or ErrNotFound. It sees every write acknowledged before.
func (b *Bus) Last(ctx context.Context, stream, subj string) (*Stored, error) {
	return b.get(ctx, stream, getRequest{LastFor: subj})
}

// Next gives the first message on subject whose sequence is from or later, or ErrNotFound.
// It sees every write acknowledged before.
func (b *Bus) Next(ctx context.Context, stream, subj string, from uint64) (*Stored, error) {
	return b.get(ctx, stream, getRequest{Seq: max(from, 1), NextFor: subj})
}

// At gives the message with this sequence, or ErrNotFound.
func (b *Bus) At(ctx context.Context, stream string, seq uint64) (*Stored, error) {
	return b.get(ctx, stream, getRequest{Seq: seq})
}

// Span gives the sequences of the first and the last message of a stream; last is below first when it is empty.
func (b *Bus) Span(ctx context.Context, stream string) (first, last uint64, err error) {
	var info struct {
		State struct {
			First uint64 `json:"first_seq"`
			Last  uint64 `json:"last_seq"`
		} `json:"state"`
	}
	if err := b.api(ctx, "STREAM.INFO."+stream, nil, &info, time.Now().Add(b.o.PublishTimeout)); err != nil {
		return 0, 0, b.readError(err, stream, "")
	}
	return info.State.First, info.State.Last, nil
}

// LastAfter is Last, read from a replica that holds all up to the message seen: what was stored before it
// is found, whoever leads the stream at the moment. It costs no leader's time.
func (b *Bus) LastAfter(ctx context.Context, stream, subj string, seen *Stored) (*Stored, error) {
	if !b.replicated(ctx, stream) {
		return b.Last(ctx, stream, subj)
	}
	body, err := json.Marshal(getRequest{MultiLast: []string{subj, seen.Subject}})
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(b.o.PublishTimeout)
	var wait backoff
	for gone := 0; ; {
		m := &nats.Msg{Subject: b.apiPrefix + "DIRECT.GET." + stream, Data: body}
		all, err := b.mux.askAll(ctx, m, deadline, func(m *nats.Msg) bool { return status(m) != "" })
		if err != nil {
			return nil, b.readError(err, stream, subj)
		}
		switch end := all[len(all)-1]; status(end) {
		case "204":
			if upTo, _ := strconv.ParseUint(end.Header.Get("Nats-UpTo-Sequence"), 10, 64); upTo < seen.Seq {
				break // a replica that lags: ask again, maybe another
			}
			for _, m := range all[:len(all)-1] {
				if m.Header.Get("Nats-Subject") == subj {
					return direct(m)
				}
			}
			return nil, notFound(stream, subj)
		case "404":
			// Neither is there: it lags, or the message seen has been removed since.
			if gone++; gone >= 5 {
				return b.Last(ctx, stream, subj)
			}
		case statusNoResponders: // no replica is up to it for the moment
		default:
			return nil, b.readError(fmt.Errorf("status %s %s", status(end), end.Header.Get("Description")), stream, subj)
		}
		if err := wait.sleep(ctx, deadline); err != nil {
			return nil, b.readError(err, stream, subj)
		}
	}
}

// get reads directly where there is one copy: nothing is more up to date than that. Of several
// copies only the leader's is known to hold every acknowledged write.
func (b *Bus) get(ctx context.Context, stream string, r getRequest) (*Stored, error) {
	subj := r.LastFor + r.NextFor
	leader := b.replicated(ctx, stream)
	begun := time.Now()
	deadline := begun.Add(b.o.PublishTimeout)
	var wait backoff
	for {
		var s *Stored
		var err error
		if leader {
			s, err = b.getLeader(ctx, stream, r, deadline)
		} else {
			s, err = b.getDirect(ctx, stream, r, deadline)
		}
		switch {
		case err == nil || errors.Is(err, ErrNotFound):
			return s, err
		case errors.Is(err, errNoStream) && !leader:
			leader = true // direct reads are off, or the stream is not there
			continue
		case isAPI(err, codeUnavailable), errors.Is(err, errNoStream) && time.Since(begun) < noRespondersRetries:
		default:
			return nil, b.readError(err, stream, subj)
		}
		if err := wait.sleep(ctx, deadline); err != nil {
			return nil, b.readError(err, stream, subj)
		}
	}
}

func (b *Bus) getDirect(ctx context.Context, stream string, r getRequest, deadline time.Time) (*Stored, error) {
	m := &nats.Msg{Subject: b.apiPrefix + "DIRECT.GET." + stream}
	if r.LastFor != "" {
		m.Subject += "." + r.LastFor
	} else {
		body, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		m.Data = body
	}
	a, err := b.mux.ask(ctx, m, deadline)
	if err != nil {
		return nil, err
	}
	switch s := status(a); s {
	case "":
		return direct(a)
	case "404":
		return nil, notFound(stream, r.LastFor+r.NextFor)
	case statusNoResponders:
		return nil, errNoStream
	default:
		return nil, fmt.Errorf("status %s %s", s, a.Header.Get("Description"))
	}
}

// status is that of an answer without a message; a message may well have a header Status of its own.
func status(m *nats.Msg) string {
	if v := m.Header[hdrStatus]; len(v) > 0 && len(m.Header["Nats-Sequence"]) == 0 {
		return v[0]
	}
	return ""
}

// direct reads the answer of a direct read: what the server adds to the message's own headers says where it lies.
func direct(m *nats.Msg) (*Stored, error) {
	s := &Stored{Data: m.Data}
	for k, v := range m.Header {
		if len(v) == 0 {
			continue
		}
		var err error
		last := v[len(v)-1] // the server's own come last, should a client have used their names
		switch k {
		case "Nats-Subject":
			s.Subject = last
		case "Nats-Sequence":
			s.Seq, err = strconv.ParseUint(last, 10, 64)
		case "Nats-Time-Stamp":
			s.Time, err = time.Parse(time.RFC3339Nano, last)
		case "Nats-Stream", "Nats-Num-Pending", "Nats-Last-Sequence":
		default:
			if s.Header == nil {
				s.Header = make(Header, len(m.Header))
			}
			s.Header[k] = v[0]
		}
		if err != nil {
			return nil, fmt.Errorf("answer of a direct read: header %s: %w", k, err)
		}
	}
	if s.Seq == 0 || s.Subject == "" {
		return nil, errors.New("answer of a direct read does not say where the message lies")
	}
	return s, nil
}

func (b *Bus) getLeader(ctx context.Context, stream string, r getRequest, deadline time.Time) (*Stored, error) {
	var a struct {
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := b.api(ctx, "STREAM.MSG.GET."+stream, r, &a, deadline); err != nil {
		if isAPI(err, codeNoMessage) {
			return nil, notFound(stream, r.LastFor+r.NextFor)
		}
		return nil, err
	}
	if a.Message == nil {
		return nil, errors.New("answer of a read holds no message")
	}
	h, err := storedHeader(a.Message.Header)
	if err != nil {
		return nil, err
	}
	return &Stored{Subject: a.Message.Subject, Seq: a.Message.Seq, Time: a.Message.Time, Header: h, Data: a.Message.Data}, nil
}

func storedHeader(raw []byte) (Header, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	h, err := nats.DecodeHeadersMsg(raw)
	if err != nil {
		return nil, fmt.Errorf("headers of a stored message: %w", err)
	}
	return header(h), nil
}

// api makes a request of JetStream's JSON API.
func (b *Bus) api(ctx context.Context, name string, request, response any, deadline time.Time) error {
	m := &nats.Msg{Subject: b.apiPrefix + name}
	if request != nil {
		body, err := json.Marshal(request)
		if err != nil {
			return err
		}
		m.Data = body
	}
	a, err := b.mux.ask(ctx, m, deadline)
	if err != nil {
		return err
	}
	if status(a) == statusNoResponders {
		return errNoStream
	}
	var e struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(a.Data, &e); err != nil {
		return fmt.Errorf("answer of %s: %w", name, err)
	}
	if e.Error != nil {
		return e.Error
	}
	if err := json.Unmarshal(a.Data, response); err != nil {
		return fmt.Errorf("answer of %s: %w", name, err)
	}
	return nil
}

func (b *Bus) readError(err error, stream, subj string) error {
	switch {
	case errors.Is(err, ErrSubject):
		return err
	case isAPI(err, codeNoStream):
		return fault.Wrap(err, fault.Unavailable, "there is no stream "+stream, "run `switchback provision`")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("read %s in %s: %w", subj, stream, err)
	default:
		return b.unavailable(err, stream+" "+subj)
	}
}

// missing is ErrNotFound with what was looked for. That a run is not there yet is found for each that is named.
type missing struct{ stream, subj string }

func (e *missing) Error() string { return e.subj + " in " + e.stream + ": " + ErrNotFound.Error() }
func (e *missing) Unwrap() error { return ErrNotFound }

func notFound(stream, subj string) error { return &missing{stream: stream, subj: subj} }

// topology remembers which streams are replicated, for a while: it changes when an operator scales a stream.
type topology struct {
	mu    sync.Mutex
	known map[string]placement
}

type placement struct {
	replicated bool
	until      time.Time
}

const placementKept = 10 * time.Second

func (t *topology) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.known)
}

// replicated tells whether a stream has several copies; when in doubt it has.
func (b *Bus) replicated(ctx context.Context, stream string) bool {
	now := time.Now()
	b.streams.mu.Lock()
	p, ok := b.streams.known[stream]
	if ok && now.After(p.until) {
		// One caller asks, the others go on with what was known.
		b.streams.known[stream] = placement{replicated: p.replicated, until: now.Add(placementKept)}
	}
	b.streams.mu.Unlock()
	if ok && now.Before(p.until) {
		return p.replicated
	}
	var info struct {
		Config struct {
			Replicas int `json:"num_replicas"`
		} `json:"config"`
	}
	if err := b.api(ctx, "STREAM.INFO."+stream, nil, &info, now.Add(b.o.PublishTimeout)); err != nil {
		return !ok || p.replicated
	}
	replicated := info.Config.Replicas > 1
	b.streams.mu.Lock()
	defer b.streams.mu.Unlock()
	if b.streams.known == nil {
		b.streams.known = make(map[string]placement)
	}
	b.streams.known[stream] = placement{replicated: replicated, until: now.Add(placementKept)}
	return replicated
}
