package ingress

import (
	"iter"
	"net/netip"
	"time"

	"github.com/switchbackhq/switchback/services/listener/ingress/rawjson"
)

// Request is what came in, and what was read of it so far. The exported fields are set once, before it is mapped;
// what is mapped from it refers to Body and the other fields, and is good until Reset.
type Request struct {
	ID         string
	Method     string
	Path       string // as in the request line, without the query
	Query      string // without the ?
	Header     Header
	Params     []Param // of the route
	Remote     netip.Addr
	ReceivedAt time.Time
	Trace      string // W3C traceparent
	Body       []byte // as sent: the content encoding is undone here
	// Delivery is the id of this delivery as its verified sender gives it, and DeliveryItem the field of each item that
	// holds one. They count where there is no dedupe_by.
	Delivery, DeliveryItem string
	// MaxBody bounds the body without its content encoding.
	MaxBody int64
	// Env looks up ${env.X}.
	Env func(name string) (string, bool)

	body   body
	query  fields
	parsed bool // query
	item   item
	mapped []byte // results, one behind the other
}

// Header is a request's header. Names are case-insensitive.
type Header interface {
	// PeekAll gives the values of one name.
	PeekAll(name string) [][]byte
	// All gives every name and value.
	All() iter.Seq2[[]byte, []byte]
}

// item is what ${item…} stands for: the body itself until an endpoint narrows it.
type item struct {
	set   bool
	isRaw bool
	raw   rawjson.Value
	value any
}

// Bounds of what a reused Request holds on to.
const (
	keepFields = 64
	keepMapped = 64 << 10
)

// Reset makes r ready for another request; its storage is reused.
func (r *Request) Reset() {
	kept := Request{Params: r.Params[:0], query: r.query[:0], mapped: r.mapped[:0]}
	if cap(kept.mapped) > keepMapped {
		kept.mapped = nil
	}
	if cap(kept.query) > keepFields {
		kept.query = nil
	}
	clear(r.query)
	kept.body.doc = r.body.doc
	*r = kept
}

// contentHeader gives the last value of a header, which is valid until the next one is looked at.
func (r *Request) contentHeader(name string) []byte {
	if r.Header == nil {
		return nil
	}
	values := r.Header.PeekAll(name)
	if len(values) == 0 {
		return nil
	}
	return values[len(values)-1]
}
