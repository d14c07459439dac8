// Package bus is Switchback's side of NATS: it connects, lays out the streams, publishes with
// certainty, reads up to date, and consumes with back-pressure. No other package imports nats.go.
//
// What it promises:
//
//   - Publish returns nil only when JetStream holds the message. An error that is neither ErrConflict nor
//     about the message itself may mean "stored, but the answer was lost": publish again with the same
//     MsgID, or make the message's effect idempotent.
//   - Last, Next, At and Bucket.Get see every write that was acknowledged before they were called: they ask the
//     stream's leader where there are several copies. (A stream that an operator scales up is known to be
//     replicated ten seconds later.) LastAfter needs no leader: it is sure of all that lies before a given message.
//   - Consume holds at most MaxInFlight messages, all of them in handlers, and keeps them alive at the server.
//   - While NATS is away every call fails at once with a fault.Unavailable; afterwards all goes on by itself.
//
// A server fires what is due on a schedule in two steps: it gathers the messages, then publishes each and purges the
// subject that it lay on, with all that was published there meanwhile. A subject whose schedule may be followed by
// something else that matters needs another place for one of the two. A server that is killed between the two steps fires again.
package bus
