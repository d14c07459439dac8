package verify

import (
	"mime"

	"github.com/tidwall/gjson"
)

// one gives a header that must be there once. Twice would leave open which one was meant.
func one(r *Request, name string) (string, error) {
	switch values := r.Header.Values(name); {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", missing("the header " + name)
	case len(values) > 1:
		return "", refuse(Malformed, "the header "+name+" is there more than once", "send it once")
	default:
		return values[0], nil
	}
}

// has tells whether a header is there at all.
func has(r *Request, name string) bool { return len(r.Header.Values(name)) > 0 }

// mediaType gives the content type without its parameters, in lower case.
func mediaType(r *Request) (string, map[string]string) {
	values := r.Header.Values("Content-Type")
	if len(values) != 1 {
		return "", nil
	}
	kind, params, err := mime.ParseMediaType(values[0])
	if err != nil {
		return "", nil
	}
	return kind, params
}

// deliveryID is where a provider puts its id of a delivery.
type deliveryID struct {
	header string
	field  string // of the JSON body
}

// of reads the id. It is read after the signature is found right, but is itself signed only where it is in the body.
func (d deliveryID) of(r *Request) string {
	if d.header != "" {
		if values := r.Header.Values(d.header); len(values) == 1 {
			return values[0]
		}
	}
	if d.field != "" {
		return field(r.Body, d.field)
	}
	return ""
}

// field gives a text or number at the top of a JSON object, as text, or "".
func field(body []byte, name string) string {
	switch v := gjson.GetBytes(body, name); v.Type {
	case gjson.String:
		return v.Str
	case gjson.Number:
		return v.Raw
	default:
		return ""
	}
}
