package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// PublishCallback stores a callback, for as long as Options.KeepCallbacks says. Its DeliveryID becomes the MsgID. A result
// that is too large for a message goes to the object store.
// The errors are those of Publish.
func (b *Bus) PublishCallback(ctx context.Context, cb *event.Callback) (Ack, error) {
	o := takeOutgoing(subject.Callback(cb.ID), cb.Result)
	defer o.giveBack()
	o.setIf(hdrMsgID, cb.DeliveryID)
	o.set(hdrTTL, b.callbackTTL)
	if cb.Outcome != event.Succeeded {
		o.setIf(subject.HeaderOutcome, string(cb.Outcome))
	}
	o.setIf(subject.HeaderError, cb.Error)
	o.setIf(subject.HeaderEndpoint, cb.Endpoint)
	o.setIf(subject.HeaderTrace, cb.Trace)
	if cb.ReplayOf != 0 {
		o.set(subject.HeaderReplayOf, strconv.FormatUint(cb.ReplayOf, 10))
	}
	if !cb.ReceivedAt.IsZero() {
		o.set(subject.HeaderReceivedAt, cb.ReceivedAt.UTC().Format(time.RFC3339Nano))
	}
	if len(cb.Result) > b.Inline() {
		return b.publishLarge(ctx, o, "callback", b.o.KeepCallbacks+objectSlack)
	}
	return b.publish(ctx, o)
}

// KeepCallbacks is how long a callback counts: Options.KeepCallbacks.
func (b *Bus) KeepCallbacks() time.Duration { return b.o.KeepCallbacks }

// DecodeCallback reads what PublishCallback, or any other client, has stored. LoadResult gives it the result that it
// refers to.
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
		DeliveryID: s.Header[hdrMsgID], Trace: s.Header[subject.HeaderTrace], Object: Reference(s.Header), Seq: s.Seq, StoredAt: s.Time,
	}
	cb.ReplayOf, _ = strconv.ParseUint(s.Header[subject.HeaderReplayOf], 10, 64) // 0 for none
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
	s, err := json.Marshal(string(data))
	if err != nil {
		return nil // a string always marshals
	}
	return s
}

// PublishRunRequest stores a run request. An input that is too large for a message goes to the object store. The errors
// are those of Publish.
func (b *Bus) PublishRunRequest(ctx context.Context, r *event.RunRequest) (Ack, error) {
	o := takeOutgoing(subject.RunRequest(r.Workflow), r.Input)
	defer o.giveBack()
	o.setIf(hdrMsgID, r.MsgID)
	o.setIf(subject.HeaderRunID, r.RunID)
	o.setIf(subject.HeaderReplyTo, r.ReplyTo)
	o.setIf(subject.HeaderParent, r.Parent)
	o.setIf(subject.HeaderDefinition, r.Definition)
	if r.Retry {
		o.set(subject.HeaderRetry, "true")
	}
	o.setIf(subject.HeaderTrace, r.Trace)
	if len(r.Input) > b.Inline() {
		return b.publishLarge(ctx, o, "request", 0)
	}
	return b.publish(ctx, o)
}

// DecodeRunRequest reads what PublishRunRequest, or any other client, has stored. Input is as it came; Object says where
// it lies instead.
func DecodeRunRequest(s *Stored) (*event.RunRequest, error) {
	workflow, err := subject.ParseRunRequest(s.Subject)
	if err != nil {
		return nil, err
	}
	return &event.RunRequest{
		RunID: s.Header[subject.HeaderRunID], Workflow: workflow, Input: s.Data, ReplyTo: s.Header[subject.HeaderReplyTo],
		MsgID: s.Header[hdrMsgID], Trace: s.Header[subject.HeaderTrace], Seq: s.Seq, RequestedAt: s.Time,
		Parent: s.Header[subject.HeaderParent], Definition: s.Header[subject.HeaderDefinition],
		Retry: s.Header[subject.HeaderRetry] == "true", Object: Reference(s.Header),
	}, nil
}

func (o *outgoing) setIf(name, value string) {
	if value != "" {
		o.set(name, value)
	}
}
