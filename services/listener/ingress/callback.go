package ingress

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/pkg/value"
)

// Item is one callback of a request, or why there is none. The callback may refer to the request's body.
type Item struct {
	Callback event.Callback
	Err      error // a fault.Unusable or fault.TooLarge; Callback.ID is set where it is known
}

// Bounds of what a callback carries besides its result.
const (
	maxError = 2048 // bytes of a failure's message, which travels in a header
	// maxMapped bounds the results of one request together, as a multiple of the largest body.
	maxMapped = 16
)

// Callbacks maps a request to callbacks, appended to items, which may be reused storage. The error is the whole
// request's: its body is unreadable, or it has no list of items in bulk. What is wrong with one item is in the item. What
// the endpoint ignores gives none.
func (e *Endpoint) Callbacks(r *Request, items []Item) ([]Item, error) {
	budget := maxMapped * r.MaxBody
	err := e.items(r, func(i int) {
		ignored, err := e.ignores(r)
		if ignored {
			return
		}
		it := Item{Err: err}
		if err == nil {
			it = e.callback(r, i)
		}
		if budget -= int64(len(it.Callback.Result)); budget < 0 && it.Err == nil {
			it = Item{Callback: event.Callback{ID: it.Callback.ID}, Err: fault.New(fault.TooLarge,
				"the results of this request are too large together", "send fewer items at once, or map less of the body into result")}
		}
		items = append(items, it)
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

func (e *Endpoint) callback(r *Request, i int) Item {
	it := Item{Callback: event.Callback{Endpoint: e.Path, ReceivedAt: r.ReceivedAt, Trace: r.Trace}}
	cb := &it.Callback
	if cb.ID, it.Err = e.id(r); it.Err != nil {
		return it
	}
	var status scalar
	if e.status != nil {
		if status, it.Err = e.status.scalar(r); it.Err != nil {
			it.Err = unusable("status", it.Err)
			return it
		}
	}
	cb.Outcome = outcome(e.Callback, status)
	if cb.Result, it.Err = e.payload(r, cb.Outcome); it.Err != nil {
		return it
	}
	if cb.Outcome == event.Failed {
		if cb.Error, it.Err = e.message(r, status); it.Err != nil {
			return it
		}
	}
	cb.DeliveryID, it.Err = e.delivery(r, cb.ID, i)
	return it
}

// id gives what identify_by names.
func (e *Endpoint) id(r *Request) (string, error) {
	if e.identify == nil {
		return compose.DefaultCallbackID, nil
	}
	s, err := e.identify.scalar(r)
	source := written(e.identify.template)
	switch {
	case err != nil:
		return "", unusable("identify_by", err)
	case s.null:
		return "", fault.New(fault.Unusable, "no identifier: "+source+" is not in this request", r.missingHint(e.identify.template))
	case s.text == "":
		return "", fault.New(fault.Unusable, "no identifier: "+source+" is empty", "")
	case s.composite:
		return "", fault.New(fault.Unusable, "no identifier: "+source+" is a map or list", "identify_by needs a text or number")
	case subject.Long(s.text, subject.MaxID):
		return "", fault.New(fault.Unusable, "the identifier at "+source+" is too long", fmt.Sprintf("%d bytes at most", subject.MaxID))
	default:
		return s.text, nil
	}
}

// outcome is what a status says. A null status, or none, is in neither list.
func outcome(c *compose.Callback, status scalar) event.Outcome {
	in := func(list []string) bool { return !status.null && slices.Contains(list, status.text) }
	switch {
	case c.Status == nil, in(c.SuccessWhen):
		return event.Succeeded
	case in(c.FailWhen):
		return event.Failed
	case c.SuccessWhen == nil:
		return event.Succeeded
	default:
		return event.Progress
	}
}

// payload is the mapped result, or for progress what progress: gives.
func (e *Endpoint) payload(r *Request, o event.Outcome) ([]byte, error) {
	if o == event.Progress && e.progress != nil {
		text, err := e.progress.toJSON(r)
		if err != nil {
			return nil, unusable("progress", err)
		}
		if string(text) != "null" {
			return text, nil
		}
	}
	if e.result != nil {
		text, err := e.result.toJSON(r)
		if err != nil {
			return nil, unusable("result", err)
		}
		return text, nil
	}
	text, err := r.whole()
	if err != nil {
		return nil, unusable("the body", err)
	}
	return text, nil
}

// wholeItem is ${item}: the item, or the body where there is none.
var wholeItem = expr.Reference{Source: "item"}

// whole gives the item or body as JSON; nil for nothing.
func (r *Request) whole() ([]byte, error) {
	if raw, ok := r.raw(&wholeItem); ok {
		return raw, nil
	}
	v, err := r.itemValue(nil)
	if v == nil || err != nil {
		return nil, err
	}
	return value.Encode(v)
}

// message is what a failure says of itself.
func (e *Endpoint) message(r *Request, status scalar) (string, error) {
	if e.failure != nil {
		s, err := e.failure.scalar(r)
		if err != nil {
			return "", unusable("error", err)
		}
		if s.text != "" {
			return headerLine(s.text), nil
		}
	}
	return headerLine("the callback says " + strconv.Quote(status.text)), nil
}

// headerLine makes text fit for a header: one line, bounded, valid.
func headerLine(s string) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "\ufffd"))
	if len(s) <= maxError {
		return strings.TrimSpace(s)
	}
	cut := maxError
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strings.TrimSpace(s[:cut]) + "…"
}

// delivery makes the id by which JetStream recognises a repeated delivery: of the sender's id, the endpoint and the
// callback's id, so that neither can stand for another's. It is "" where the sender gives none.
func (e *Endpoint) delivery(r *Request, id string, i int) (string, error) {
	given, ofItem := r.Delivery, false
	switch {
	case e.dedupe != nil:
		s, err := e.dedupe.scalar(r)
		if err != nil {
			return "", unusable("dedupe_by", err)
		}
		given, ofItem = s.text, e.dedupe.reads("item")
	case r.DeliveryItem != "":
		v, err := r.itemValue(expr.Path{{Name: r.DeliveryItem}})
		if err != nil {
			return "", unusable("the item's "+r.DeliveryItem, err)
		}
		given, ofItem = value.Text(v), true
	}
	if given == "" {
		return "", nil
	}
	parts := []string{e.scope, given, id}
	if e.bulk && !ofItem {
		parts = append(parts, strconv.Itoa(i)) // one delivery id for all items
	}
	sum := sha256.Sum256([]byte(strings.Join(quoted(parts), " ")))
	return base64.RawURLEncoding.EncodeToString(sum[:18]), nil
}

func quoted(parts []string) []string {
	for i, p := range parts {
		parts[i] = strconv.Quote(p)
	}
	return parts
}

// reads tells whether the projection refers to the source.
func (p *projection) reads(source string) bool {
	return slices.ContainsFunc(p.template.References(), func(r expr.Reference) bool { return r.Source == source })
}
