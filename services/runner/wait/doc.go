// Package wait makes, finds and ends the waits of runs, so that no callback is lost and none counts twice.
//
// # The order is the server's
//
// Waits and callbacks lie in one stream. Park publishes the wait under the condition that the last callback for its id is
// the one that it knows of (or none). So the server decides: either the wait stands before the next callback, and whoever
// takes that callback finds it; or the callback was first, the publish is refused, and Park gives the callback to its
// caller instead. The refusal is definite; an undecided answer is asked again below, in the bus.
//
// # Who feeds what
//
// A callback stored before the wait is the parker's: it is there when the publish is refused. One stored after it is the
// consumer's: Look finds the wait. Both may bring the same callback to the run document (between the two steps of a shared
// wait, and after a crash); the compare-and-swap there lets one through. Nothing here replaces that fence.
//
// The document is saved before Park, and a message is acknowledged after all that it set off. Hence, by case:
//
//   - Crash before Park, or an answer lost: the message comes again, the document says "waiting", Park runs again. The same
//     wait is simply written again; if a callback came in between, the publish is refused and the callback is returned.
//   - Two parkers of one wait (a zombie): the later publish wins with the same content, or is refused by a callback.
//   - A zombie parks after the end, or who was about to when another cancelled the run: after a callback it is refused. Where
//     the id is a shared one, the mark of the end tells, or its parker, who looks at the document once more when the wait stands.
//     An attempt's own wait is ended when the run is looked at again a few seconds after it has let go of jobs; one that is
//     made later stands until its time is over, or until a callback finds it and the document says that nobody waits.
//   - A callback for nobody is acknowledged and stays in the stream: a later Park is refused by it, and returns it.
//   - Progress leaves the wait standing. Who has taken it into the document parks, if at all, with Used set to it.
//
// # What counts
//
// A callback counts when it was stored after Used (the wait's own, or that of the mark which an earlier wait left) and not
// before the run's request (Options). Times are the server's; where NATS is replicated its servers' clocks have to agree
// better than the time from a request to its first callback.
//
// # Reads
//
// "No wait" must not be a stale read's answer. Look reads from a replica that holds the callback in question (bus.LastAfter):
// what was parked before the callback is found there, what is parked later is refused by it. No leader is trusted, so a
// deposed one does no harm. In Park and End only an accepted publish counts: every verdict about a shared id, also "somebody
// else has it" and "it is ended already", is made by a publish that depends on what was read.
//
// # Deadlines
//
// A wait is its own timer: a message on the wait's key that the server publishes on timeout.<id> when due, purging the key
// in the same step; any other message on the key cancels it. A server that is busy firing may purge a key that was written
// again meanwhile (what is due is gathered first, published later). For an attempt's own id (<run>.<job>, <run>.<job>.<n>)
// that is harmless: the timeout that did it is delivered and is about the same job, which parks again what it still wants.
// Any other id may be waited for by another run next, so its timer is a message of its own, named after the attempt.
// A timeout is a hint to look at the document: it may be late, double, or of an earlier deadline, so compare.
//
// # Shared ids
//
// Ids that are not an attempt's own (a task id of the outside service, __callback__) may be wanted by two runs at once.
// The key is claimed first, by compare-and-swap on the key; a second run is told who holds it (HeldError). From the claim on
// a callback finds the wait. Then the timer is published, conditional on the callbacks, as above. Ending it is conditional
// too, so that a late End does not end the next run's wait. Between jobs of one run the id is handed over while the wait of the
// one before still stands, because ends come last (Options.Over): whose callback comes again finds the run by the later wait.
// An end of one job ends the wait of another of the run as well that is done with the id (Known.Done): its own end may have come
// before it stood.
//
// An end gives the id free while another callback that the run has taken for it may not be followed up: the one of a job before, whose
// runner has died. Such a callback leaves a note, a message on a timer's subject named after its place in the stream: when
// it comes again, and the key is another run's by then, Look finds its own run by the note.
//
// # Marks
//
// An ended wait leaves a mark (a KV purge marker): who ended, and the last callback used. It tells a duplicate from a callback
// for nobody, and a later wait for the same id from where to count. For the latter a shared id's mark is there as long as
// callbacks count. Of an attempt's own id the document knows as well: its mark stays an hour.
//
// A quorum (several callbacks for one wait) needs no more than this: each callback goes into the document, Used follows,
// and the wait stands until the document has enough.
package wait
