package bus

import (
	"encoding/json"
	"fmt"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// ReceivedMessage is the message that records a request. It refers to the record's body.
func ReceivedMessage(r *event.Received) (*Message, error) {
	about, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write the record of request %s: %w", r.ID, err)
	}
	return &Message{
		Subject: subject.Received(r.Listener, r.Endpoint, r.Verdict), Header: Header{subject.HeaderRecord: string(about)}, Data: r.Body,
	}, nil
}

// DecodeReceived reads what ReceivedMessage has written.
func DecodeReceived(s *Stored) (*event.Received, error) {
	r := &event.Received{}
	if err := json.Unmarshal([]byte(s.Header[subject.HeaderRecord]), r); err != nil {
		return nil, fmt.Errorf("read record %d: %w", s.Seq, err)
	}
	r.Seq, r.Body = s.Seq, s.Data
	return r, nil
}
