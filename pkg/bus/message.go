package bus

import "time"

// Header holds a message's headers: one value a name, names are case-sensitive.
type Header map[string]string

// Message is what Publish stores.
type Message struct {
	Subject string
	Header  Header
	Data    []byte
	// MsgID lets the server recognise a message that it has already stored within its window.
	MsgID string
	// TTL removes the message after this time, in whole seconds (rounded up); zero keeps it.
	TTL time.Duration
	// Expect makes the publish conditional.
	Expect *Expect
	// Rollup removes what was stored on this subject before.
	Rollup bool
	// ScheduleAt makes the server publish Data to ScheduleTarget then, and purge Subject.
	// Whatever is published on Subject before that replaces the schedule.
	ScheduleAt     time.Time
	ScheduleTarget string
	// Unschedule names another subject whose schedule is purged together with this publish.
	Unschedule string
}

// Expect is a condition of a publish: the last message stored on Subject has this sequence,
// zero for none. Subject is literal: a wildcard is not checked against writes in flight.
type Expect struct {
	Subject string // empty: the message's own subject
	Seq     uint64
}

// Ack is JetStream's answer: where the message lies, and whether it lay there before.
type Ack struct {
	Seq       uint64
	Duplicate bool // recognised by MsgID; Seq is that of the first
}

// Stored is a message as a stream holds it.
type Stored struct {
	Subject string
	Seq     uint64
	Time    time.Time // when the server took it
	Header  Header
	Data    []byte
}

// Note is a message of core NATS: not stored.
type Note struct {
	Subject string
	Header  Header
	Data    []byte
	Reply   string // empty when nobody asks for an answer

	respond func(data []byte) error
}

// Respond answers the note; without a Reply it does nothing.
func (n *Note) Respond(data []byte) error {
	if n.Reply == "" || n.respond == nil {
		return nil
	}
	return n.respond(data)
}
