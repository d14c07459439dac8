// Package subject builds and parses every subject, stream, bucket and key that Switchback uses, and no other package does.
package subject

import (
	"errors"
	"fmt"
	"strings"
)

// Streams and buckets.
const (
	// StreamRuns holds run requests until a runner has taken them (work queue).
	StreamRuns = "RUNS"
	// StreamWaits is the stream behind the bucket waits. It also takes callbacks and
	// timeouts, so that the server itself orders a wait against its callback.
	StreamWaits = "KV_waits"
	// StreamReceived records what the listeners were sent.
	StreamReceived = "RECEIVED"
	// StreamDead holds what could not be processed, each with its reason.
	StreamDead = "DEAD"
	// StreamEdge holds what a listener on the far side of a link has taken, until it has been brought over.
	StreamEdge = "EDGE"

	BucketWaits       = "waits"
	BucketRuns        = "runs"
	BucketGateways    = "gateways"
	BucketDefinitions = "definitions"
	BucketLeases      = "leases" // which process holds a tunnel, and the address that it had last
	// BucketSlots holds which runs of a workflow with a limit go now, and which are queued.
	BucketSlots = "slots"
	// BucketDeliveries remembers which deliveries the listeners have taken, by hashed ids.
	BucketDeliveries = "deliveries"

	// BucketPayloads is an object store bucket: payloads of callbacks and run requests that are too large for a message.
	BucketPayloads = "payloads"
	// BucketDocuments is an object store bucket: run documents that are too large for a message.
	BucketDocuments = "documents"

	// ConsumerRunner is the durable name of the runners' shared consumers on StreamRuns and StreamWaits.
	ConsumerRunner = "runner"
	// ConsumerForwarder is the durable name of the forwarders' shared consumer on StreamEdge.
	ConsumerForwarder = "forwarder"
)

// Headers of requests and callbacks. NATS header names are case-sensitive.
const (
	HeaderRunID      = "Switchback-Run-Id"
	HeaderReplyTo    = "Switchback-Reply-To"
	HeaderParent     = "Switchback-Parent"
	HeaderDefinition = "Switchback-Definition"
	HeaderRetry      = "Switchback-Retry"
	HeaderOutcome    = "Switchback-Outcome"
	HeaderError      = "Switchback-Error"
	HeaderEndpoint   = "Switchback-Endpoint"
	HeaderReceivedAt = "Switchback-Received-At"
	HeaderReason     = "Switchback-Reason"
	HeaderUsed       = "Switchback-Used"
	HeaderReplayOf   = "Switchback-Replay-Of"
	HeaderTrace      = "traceparent"

	// HeaderObject says that the payload lies in BucketPayloads under this name; size and digest may be left out.
	HeaderObject       = "Switchback-Object"
	HeaderObjectSize   = "Switchback-Object-Size"
	HeaderObjectDigest = "Switchback-Object-Digest"
)

// Subject filters, for streams, consumers and subscriptions.
const (
	AllRunRequests = "run.request.>"
	AllRunCommands = "run.command.>"
	AllRunEvents   = "run.event.>"
	AllCallbacks   = "callback.>"
	AllTimers      = "timer.>"
	AllTimeouts    = "timeout.>"
	AllReceived    = "received.>"
	AllDead        = "dead.>"
	AllWaits       = "$KV." + BucketWaits + ".>"
)

// RunRequest is run.request.<workflow>.
func RunRequest(workflow string) string { return "run.request." + Escape(workflow) }

// RunCancel is run.command.<run id>.cancel.
func RunCancel(runID string) string { return "run.command." + Escape(runID) + ".cancel" }

// RunAbort is run.command.<run id>.abort: by it a runner that has cancelled a run tells the others.
func RunAbort(runID string) string { return "run.command." + Escape(runID) + ".abort" }

// RunEvent is run.event.<run id>.<event>.
func RunEvent(runID, event string) string { return "run.event." + Escape(runID) + "." + event }

// RunEvents is run.event.<run id>.*: all notices of one run.
func RunEvents(runID string) string { return "run.event." + Escape(runID) + ".*" }

// Callback is callback.<id>.
func Callback(id string) string { return "callback." + Escape(id) }

// Timer is timer.<id>: a scheduled message that becomes Timeout(id) when due.
func Timer(id string) string { return "timer." + Escape(id) }

// Timeout is timeout.<id>: what a wait's or a timer's schedule publishes when due.
func Timeout(id string) string { return "timeout." + Escape(id) }

// Wait is the stored subject of the key of a wait, $KV.waits.<id>.
func Wait(id string) string { return BucketKey(BucketWaits, id) }

// Received is received.<listener>.<endpoint>.<verdict>.
func Received(listener, endpoint, verdict string) string {
	return "received." + token(listener) + "." + token(endpoint) + "." + token(verdict)
}

// ReceivedWith is received.*.*.<verdict>: all records with that verdict.
func ReceivedWith(verdict string) string { return "received.*.*." + token(verdict) }

// Dead is dead.<kind>.<id>: kind names what was given up (request, callback, run).
func Dead(kind, id string) string { return "dead." + token(kind) + "." + Escape(id) }

// BucketStream is the stream behind a bucket, KV_<bucket>.
func BucketStream(bucket string) string { return "KV_" + bucket }

// BucketKey is the stored subject of the key of id in a bucket, $KV.<bucket>.<id>.
func BucketKey(bucket, id string) string { return "$KV." + bucket + "." + Key(id) }

// BucketKeys is the filter of all keys of a bucket.
func BucketKeys(bucket string) string { return "$KV." + bucket + ".>" }

// SlotGroup is the key, in the bucket slots, of the runs that share a limit: those of a workflow, with one value of its
// key, which is given by its digest.
func SlotGroup(workflow, digest string) string { return token(workflow) + "." + token(digest) }

// SlotHolders is the stored subject of the runs of a group that go now.
func SlotHolders(group string) string { return "$KV." + BucketSlots + "." + group }

// SlotQueue is the filter of the runs of a group that are queued, and SlotQueued the stored subject of one.
func SlotQueue(group string) string { return SlotHolders(group) + ".>" }

// SlotQueued is the stored subject of a queued run.
func SlotQueued(group, ticket string) string { return SlotHolders(group) + "." + token(ticket) }

// Key is the key of id in any bucket.
func Key(id string) string { return Escape(id) }

// ParseRunRequest gives the workflow of a subject made by RunRequest.
func ParseRunRequest(subject string) (workflow string, err error) {
	return parse("run.request.", subject)
}

// ParseCallback gives the id of a subject made by Callback.
func ParseCallback(subject string) (id string, err error) { return parse("callback.", subject) }

// ParseTimeout gives the id of a subject made by Timeout.
func ParseTimeout(subject string) (id string, err error) { return parse("timeout.", subject) }

// ParseWait gives the id of a subject made by Wait.
func ParseWait(subject string) (id string, err error) {
	return parse("$KV."+BucketWaits+".", subject)
}

// ParseKey gives the id of a key made by Key.
func ParseKey(key string) (id string, err error) { return Unescape(key) }

// ParseRunCancel gives the run id of a subject made by RunCancel.
func ParseRunCancel(subject string) (runID string, err error) {
	return parseCommand(subject, ".cancel")
}

// ParseRunAbort gives the run id of a subject made by RunAbort.
func ParseRunAbort(subject string) (runID string, err error) { return parseCommand(subject, ".abort") }

func parseCommand(subject, command string) (runID string, err error) {
	rest, ok := strings.CutSuffix(subject, command)
	if !ok {
		return "", fmt.Errorf("subject %q is not run.command.<run id>%s", subject, command)
	}
	return parse("run.command.", rest)
}

// ParseRunEvent gives the run id and the event of a subject made by RunEvent.
func ParseRunEvent(subject string) (runID, event string, err error) {
	i := strings.LastIndexByte(subject, '.')
	if i < 0 {
		return "", "", fmt.Errorf("subject %q is not run.event.<run id>.<event>", subject)
	}
	runID, err = parse("run.event.", subject[:i])
	return runID, subject[i+1:], err
}

// What there is of messages that a runner is given.
const (
	KindRequest  = "request"
	KindCallback = "callback"
	KindTimeout  = "timeout"
)

// Kind says what a message for a runner is, by its subject, and gives its id: escaped, or as another client has written it.
func Kind(subject string) (kind, id string) {
	if id, ok := strings.CutPrefix(subject, "run.request."); ok {
		return KindRequest, id
	}
	kind, id, _ = strings.Cut(subject, ".")
	return kind, id
}

func parse(prefix, subject string) (string, error) {
	rest, ok := strings.CutPrefix(subject, prefix)
	if !ok || rest == "" {
		return "", fmt.Errorf("subject %q does not begin with %s<id>", subject, prefix)
	}
	return Unescape(rest)
}

const hexDigits = "0123456789ABCDEF"

// Valid tells whether a message can be published on a subject that somebody else has chosen: a wildcard is for those who listen.
func Valid(subject string) bool {
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" || token == "*" || token == ">" || strings.ContainsAny(token, " \t\r\n") {
			return false
		}
	}
	return true
}

// NATS closes the connection of a client that sends too long a subject, so ids are bounded. They are counted in bytes, escaped.
const (
	// MaxID is the longest id of a callback, and so of a wait.
	MaxID = 1024
	// MaxRunID is the longest id of a run: what its jobs wait for begins with it.
	MaxRunID = 512
)

// Long tells whether an id is longer than so many bytes when it is escaped.
func Long(id string, most int) bool { return len(id) > most || len(Escape(id)) > most }

// Escape writes an id as subject tokens: its tokens are split at ".", within a token every
// byte outside A-Z a-z 0-9 _ - is written =HH (hex, upper case), and an empty token is "=".
func Escape(id string) string {
	if plain(id) {
		return id
	}
	var b strings.Builder
	b.Grow(len(id) + 8)
	for i, t := range strings.Split(id, ".") {
		if i > 0 {
			b.WriteByte('.')
		}
		escapeToken(&b, t)
	}
	return b.String()
}

// token writes an id as exactly one token: dots are escaped as well.
func token(id string) string {
	var b strings.Builder
	escapeToken(&b, id)
	return b.String()
}

func escapeToken(b *strings.Builder, t string) {
	if t == "" {
		b.WriteByte('=')
		return
	}
	for i := range len(t) {
		if c := t[i]; safe(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('=')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
}

// Unescape is the inverse of Escape. Text that Escape cannot have written is an error.
func Unescape(escaped string) (string, error) {
	if plain(escaped) {
		return escaped, nil
	}
	tokens := strings.Split(escaped, ".")
	for i, t := range tokens {
		u, err := unescapeToken(t)
		if err != nil {
			return "", fmt.Errorf("unescape %q: %w", escaped, err)
		}
		tokens[i] = u
	}
	return strings.Join(tokens, "."), nil
}

func unescapeToken(t string) (string, error) {
	switch t {
	case "=":
		return "", nil
	case "":
		return "", errors.New("a token is empty")
	}
	var b strings.Builder
	b.Grow(len(t))
	for i := 0; i < len(t); i++ {
		c := t[i]
		switch {
		case safe(c):
			b.WriteByte(c)
		case c == '=' && i+2 < len(t):
			hi, lo := strings.IndexByte(hexDigits, t[i+1]), strings.IndexByte(hexDigits, t[i+2])
			if hi < 0 || lo < 0 {
				return "", fmt.Errorf("%q is not =HH", t[i:i+3])
			}
			if d := byte(hi)<<4 | byte(lo); !safe(d) {
				b.WriteByte(d)
			} else {
				return "", fmt.Errorf("%q escapes a byte that needs none", t[i:i+3])
			}
			i += 2
		default:
			return "", fmt.Errorf("byte %#02x is not allowed", c)
		}
	}
	return b.String(), nil
}

// plain tells whether an id is written as it is: the common case, without allocation.
func plain(id string) bool {
	start := true
	for i := range len(id) {
		switch c := id[i]; {
		case safe(c):
			start = false
		case c == '.' && !start:
			start = true
		default:
			return false
		}
	}
	return !start
}

func safe(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}
