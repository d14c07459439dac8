package forwarder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// missing is how often a payload that is not there is looked for, a few seconds each time: it is stored before its message,
// so it has gone.
const missing = 5

// lasting tells errors of the message itself, which trying again does not mend.
func lasting(err error, deliveries int) bool {
	if errors.Is(err, bus.ErrNotFound) {
		return deliveries >= missing
	}
	switch fault.CodeOf(err) {
	case fault.Invalid, fault.TooLarge:
		return true
	default:
		return false
	}
}

// bury stores a message that cannot be forwarded, with the reason, among those that could not be processed.
func (f *Forwarder) bury(ctx context.Context, d *bus.Delivery, reason error) error {
	f.log.Error("given up", slog.String("subject", d.Subject), slog.Any("error", reason))
	headers := make(map[string][]string, len(d.Header))
	for k, v := range d.Header {
		headers[k] = []string{v}
	}
	data, err := json.Marshal(event.Dead{Subject: d.Subject, Reason: reason.Error(), At: time.Now(), Headers: headers, Payload: d.Data})
	if err != nil {
		return fmt.Errorf("bury %s: %w", d.Subject, err)
	}
	line, _, _ := strings.Cut(reason.Error(), "\n")
	_, err = f.bus.Publish(ctx, &bus.Message{
		Subject: subject.Dead(kind(d.Subject), own(&d.Stored)), Data: data, Header: bus.Header{subject.HeaderReason: line}, MsgID: own(&d.Stored),
	})
	if err != nil {
		return fmt.Errorf("bury %s: %w", d.Subject, err)
	}
	return nil
}
