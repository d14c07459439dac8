package event

import (
	"net/netip"
	"time"
)

// Received is the record of one request to a listener's endpoint. The message that holds it is a line of JSON, and behind it
// the request's body as it was sent.
type Received struct {
	Seq      uint64     `json:"seq,omitempty"` // place in the stream of records; zero before it is stored
	ID       string     `json:"id"`            // the request's
	At       time.Time  `json:"at"`
	Listener string     `json:"listener"`
	Endpoint string     `json:"endpoint"` // its path as in the file
	Method   string     `json:"method"`
	Path     string     `json:"path"`
	Query    string     `json:"query,omitempty"`
	Remote   netip.Addr `json:"remote"` // the zero Addr where it is not known
	Verdict  string     `json:"verdict"`
	Status   int        `json:"status"` // of the answer
	Error    string     `json:"error,omitempty"`
	ReplayOf uint64     `json:"replay_of,omitempty"` // the request that a person had mapped again; this is no request of its own

	Items []ReceivedItem `json:"items,omitempty"`
	More  int            `json:"more_items,omitempty"` // that are not listed

	Header   map[string][]string `json:"header,omitempty"`
	Masked   []string            `json:"masked,omitempty"` // headers and query parameters whose values are not kept
	BodySize int                 `json:"body_size"`
	Cut      bool                `json:"cut,omitempty"` // the body is not kept, or only its beginning
	Body     []byte              `json:"-"`

	// ReplayedBy are the records of its replays: told to those who read the record, and not a part of it.
	ReplayedBy []uint64 `json:"replayed_by,omitempty"`
}

// VerdictReplayed is that of a replay's record.
const VerdictReplayed = "replayed"

// ReceivedItem is what became of one item of a request.
type ReceivedItem struct {
	ID        string  `json:"id,omitempty"`
	Outcome   Outcome `json:"outcome,omitempty"`
	Seq       uint64  `json:"seq,omitempty"` // of the callback in the stream of waits
	Run       string  `json:"run_id,omitempty"`
	Duplicate bool    `json:"duplicate,omitempty"`
	Error     string  `json:"error,omitempty"`

	// What has become of a callback, and the job that took it: told to those who read the record, and not a part of it.
	Fate string `json:"fate,omitempty"`
	Job  string `json:"job,omitempty"`
}

// HeaderField is a line of a request's header.
type HeaderField struct{ Name, Value []byte }
