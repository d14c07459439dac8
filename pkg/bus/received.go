package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/value"
)

// AppendReceived appends what the message of a record holds: a line of JSON as encoding/json would write it, with these
// header fields for r.Header, and the body. It is written for each request, and so without making anything.
func AppendReceived(dst []byte, r *event.Received, header []event.HeaderField) []byte {
	dst = value.AppendString(append(dst, `{"id":`...), r.ID)
	dst = append(dst, `,"at":"`...)
	dst = append(r.At.AppendFormat(dst, time.RFC3339Nano), '"')
	dst = value.AppendString(append(dst, `,"listener":`...), r.Listener)
	dst = value.AppendString(append(dst, `,"endpoint":`...), r.Endpoint)
	dst = value.AppendString(append(dst, `,"method":`...), r.Method)
	dst = value.AppendString(append(dst, `,"path":`...), r.Path)
	dst = appendText(dst, `,"query":`, r.Query)
	dst = append(dst, `,"remote":"`...)
	if r.Remote.IsValid() {
		dst = r.Remote.AppendTo(dst)
	}
	dst = append(dst, '"')
	dst = value.AppendString(append(dst, `,"verdict":`...), r.Verdict)
	dst = strconv.AppendInt(append(dst, `,"status":`...), int64(r.Status), 10)
	dst = appendText(dst, `,"error":`, r.Error)
	if r.ReplayOf > 0 {
		dst = strconv.AppendUint(append(dst, `,"replay_of":`...), r.ReplayOf, 10)
	}
	for i := range r.Items {
		dst = append(dst, separator(i, `,"items":[`)...)
		dst = appendItem(dst, &r.Items[i])
	}
	if len(r.Items) > 0 {
		dst = append(dst, ']')
	}
	if r.More > 0 {
		dst = strconv.AppendInt(append(dst, `,"more_items":`...), int64(r.More), 10)
	}
	dst = appendFields(dst, header)
	for i, name := range r.Masked {
		dst = value.AppendString(append(dst, separator(i, `,"masked":[`)...), name)
	}
	if len(r.Masked) > 0 {
		dst = append(dst, ']')
	}
	dst = strconv.AppendInt(append(dst, `,"body_size":`...), int64(r.BodySize), 10)
	if r.Cut {
		dst = append(dst, `,"cut":true`...)
	}
	return append(append(dst, "}\n"...), r.Body...)
}

func appendText(dst []byte, key, text string) []byte {
	if text == "" {
		return dst
	}
	return value.AppendString(append(dst, key...), text)
}

func separator(i int, first string) string {
	if i == 0 {
		return first
	}
	return ","
}

func appendItem(dst []byte, it *event.ReceivedItem) []byte {
	from := len(dst)
	dst = appendText(dst, `,"id":`, it.ID)
	dst = appendText(dst, `,"outcome":`, string(it.Outcome))
	if it.Seq > 0 {
		dst = strconv.AppendUint(append(dst, `,"seq":`...), it.Seq, 10)
	}
	dst = appendText(dst, `,"run_id":`, it.Run)
	if it.Duplicate {
		dst = append(dst, `,"duplicate":true`...)
	}
	dst = appendText(dst, `,"error":`, it.Error)
	if len(dst) == from {
		return append(dst, "{}"...)
	}
	dst[from] = '{' // for the first comma
	return append(dst, '}')
}

// appendFields writes header fields as an object of lists; those of one name stand together.
func appendFields(dst []byte, header []event.HeaderField) []byte {
	first := `,"header":{`
	for i := range header {
		if hasName(header[:i], header[i].Name) {
			continue
		}
		dst = value.AppendString(append(dst, first...), header[i].Name)
		first = ","
		dst = append(dst, ":["...)
		dst = value.AppendString(dst, header[i].Value)
		for _, f := range header[i+1:] {
			if bytes.Equal(f.Name, header[i].Name) {
				dst = value.AppendString(append(dst, ','), f.Value)
			}
		}
		dst = append(dst, ']')
	}
	if len(header) > 0 {
		dst = append(dst, '}')
	}
	return dst
}

func hasName(header []event.HeaderField, name []byte) bool {
	for i := range header {
		if bytes.Equal(header[i].Name, name) {
			return true
		}
	}
	return false
}

// ReceivedMessage is the message that records a request.
func ReceivedMessage(r *event.Received) *Message {
	var header []event.HeaderField
	for name, values := range r.Header {
		for _, v := range values {
			header = append(header, event.HeaderField{Name: []byte(name), Value: []byte(v)})
		}
	}
	return &Message{Subject: subject.Received(r.Listener, r.Endpoint, r.Verdict), Data: AppendReceived(nil, r, header)}
}

// DecodeReceived reads what AppendReceived has written.
func DecodeReceived(s *Stored) (*event.Received, error) {
	about, body, whole := bytes.Cut(s.Data, []byte{'\n'})
	r := &event.Received{}
	err := json.Unmarshal(about, r)
	if err == nil && !whole {
		err = errors.New("it has no end of line")
	}
	if err != nil {
		return nil, fmt.Errorf("read record %d: %w", s.Seq, err)
	}
	r.Seq, r.Body = s.Seq, body
	return r, nil
}
