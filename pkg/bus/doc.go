// Package bus is Switchback's side of NATS: it connects, lays out the streams, publishes with
// certainty, reads up to date, and consumes with back-pressure. No other package imports nats.go.
//
// What it promises:
//
//   - Publish returns nil only when JetStream holds the message. Every error other than ErrConflict
//     and the ones of a malformed message may mean "stored, but the answer was lost": publish again
//     with the same MsgID, or make the message's effect idempotent.
//   - Last, Next and Bucket.Get see every write that was acknowledged before they were called.
//   - Consume holds at most MaxInFlight messages, all of them in handlers, and keeps them alive.
package bus
