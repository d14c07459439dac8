package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// PublishCallback stores a callback, for as long as Options.KeepCallbacks says.
func (b *Bus) PublishCallback(ctx context.Context, cb *event.Callback) (Ack, error) {
	h := Header{}
	put(h, subject.HeaderOutcome, string(cb.Outcome))
	put(h, subject.HeaderError, cb.Error)
	put(h, subject.HeaderEndpoint, cb.Endpoint)
	put(h, subject.HeaderTrace, cb.Trace)
	if !cb.ReceivedAt.IsZero() {
		h[subject.HeaderReceivedAt] = cb.ReceivedAt.UTC().Format(time.RFC3339Nano)
	}
	return b.Publish(ctx, &Message{Subject: subject.Callback(cb.ID), Header: h, Data: cb.Result, MsgID: cb.DeliveryID, TTL: b.o.KeepCallbacks})
}

// DecodeCallback reads what PublishCallback, or any other client, has stored.
func DecodeCallback(s *Stored) (*event.Callback, error) {
	id, err := subject.ParseCallback(s.Subject)
	if err != nil {
		return nil, err
	}
	outcome, err := event.ParseOutcome(s.Header[subject.HeaderOutcome])
	if err != nil {
		return nil, fmt.Errorf("callback for %s: %w", id, err)
	}
	cb := &event.Callback{
		ID: id, Outcome: outcome, Result: payload(s.Data), Error: s.Header[subject.HeaderError], Endpoint: s.Header[subject.HeaderEndpoint],
		DeliveryID: s.Header["Nats-Msg-Id"], Trace: s.Header[subject.HeaderTrace], Seq: s.Seq, StoredAt: s.Time,
	}
	if t := s.Header[subject.HeaderReceivedAt]; t != "" {
		if cb.ReceivedAt, err = time.Parse(time.RFC3339Nano, t); err != nil {
			cb.ReceivedAt = time.Time{} // a foreign client's: not worth losing the callback
		}
	}
	return cb, nil
}

// payload is data when it is JSON, else data as a JSON string.
func payload(data []byte) json.RawMessage {
	if len(data) == 0 {
		return nil
	}
	if json.Valid(data) {
		return data
	}
	s, _ := json.Marshal(string(data)) // a string always marshals
	return s
}

// PublishRunRequest stores a run request.
func (b *Bus) PublishRunRequest(ctx context.Context, r *event.RunRequest) (Ack, error) {
	h := Header{}
	put(h, subject.HeaderRunID, r.RunID)
	put(h, subject.HeaderReplyTo, r.ReplyTo)
	put(h, subject.HeaderTrace, r.Trace)
	return b.Publish(ctx, &Message{Subject: subject.RunRequest(r.Workflow), Header: h, Data: r.Input, MsgID: r.MsgID})
}

// DecodeRunRequest reads what PublishRunRequest, or any other client, has stored. Input is as it came.
func DecodeRunRequest(s *Stored) (*event.RunRequest, error) {
	workflow, err := subject.ParseRunRequest(s.Subject)
	if err != nil {
		return nil, err
	}
	return &event.RunRequest{
		RunID: s.Header[subject.HeaderRunID], Workflow: workflow, Input: s.Data, ReplyTo: s.Header[subject.HeaderReplyTo],
		MsgID: s.Header["Nats-Msg-Id"], Trace: s.Header[subject.HeaderTrace], Seq: s.Seq, RequestedAt: s.Time,
	}, nil
}

func put(h Header, name, value string) {
	if value != "" {
		h[name] = value
	}
}
