package verify

import (
	"context"
	"crypto/hmac"
	"crypto/subtle"
	"hash"
	"io"
	"strings"
	"time"
)

// macScheme verifies an HMAC over a text made of parts of the request. Most providers are one of these.
type macScheme struct {
	keys   [][]byte
	hash   func() hash.Hash
	size   int
	header string // that holds the signature
	prefix string // before the signature
	code   encoding
	list   *list // nil: the header is the signature alone
	signed []segment

	stampHeader string // "": in the list, or none
	stampUnit   unit
	tolerance   time.Duration

	id deliveryID
}

// list is a header of several items: a time and signatures, each after its prefix.
type list struct {
	separators  string
	stampPrefix string
}

// maxItems bounds the work that one header can ask for.
const maxItems = 32

func (m *macScheme) verify(_ context.Context, r *Request) (Result, error) {
	text, err := one(r, m.header)
	if err != nil {
		return Result{}, err
	}
	stamp, given, err := m.read(text)
	if err != nil {
		return Result{}, err
	}
	if m.stampHeader != "" {
		if stamp, err = one(r, m.stampHeader); err != nil {
			return Result{}, err
		}
	}
	if err := m.match(r, stamp, given); err != nil {
		return Result{}, err
	}
	if stamp != "" {
		if err := age(r.Now, "the time of "+m.header, stamp, m.stampUnit, m.tolerance); err != nil {
			return Result{}, err
		}
	}
	return Result{DeliveryID: m.id.of(r)}, nil
}

// read gives the signatures in the header, and the time where it is there too.
func (m *macScheme) read(text string) (stamp string, given [][]byte, err error) {
	if m.list == nil {
		text, ok := strings.CutPrefix(text, m.prefix)
		mac, decoded := m.code.decode(text, m.size)
		if !ok || !decoded {
			return "", nil, m.unreadable()
		}
		return "", [][]byte{mac}, nil
	}
	items := strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(m.list.separators, c) })
	if len(items) > maxItems {
		return "", nil, m.unreadable()
	}
	for _, item := range items {
		item = strings.TrimSpace(item)
		// Two items run together are nothing that a provider sends.
		if strings.HasSuffix(m.prefix, "=") && strings.Count(strings.TrimRight(item, "="), "=") != 1 {
			return "", nil, m.unreadable()
		}
		if at, ok := strings.CutPrefix(item, m.list.stampPrefix); ok {
			if stamp != "" || at == "" {
				return "", nil, m.unreadable()
			}
			stamp = at
		} else if mac, ok := strings.CutPrefix(item, m.prefix); ok {
			// One that cannot be read may be of a scheme to come; another may still match.
			if mac, ok := m.code.decode(mac, m.size); ok {
				given = append(given, mac)
			}
		}
	}
	if stamp == "" || len(given) == 0 {
		return "", nil, m.unreadable()
	}
	return stamp, given, nil
}

func (m *macScheme) unreadable() error {
	form := m.prefix + "<" + m.code.describe() + ">"
	if m.list != nil {
		form = m.list.stampPrefix + "<time>" + m.list.separators[:1] + form
	}
	return malformed("the signature in "+m.header, form)
}

// match compares every signature with that of every key, and never stops early.
func (m *macScheme) match(r *Request, stamp string, given [][]byte) error {
	bases := []string{""}
	bound := false
	for _, part := range m.signed {
		bound = bound || part.kind == urlPart
	}
	if bound {
		bases = r.Bases
	}
	matched := 0
	for _, base := range bases {
		for _, key := range m.keys {
			mac := hmac.New(m.hash, key)
			for _, part := range m.signed {
				if err := part.write(mac, r, base, stamp); err != nil {
					return err
				}
			}
			want := mac.Sum(nil)
			for _, g := range given {
				matched |= subtle.ConstantTimeCompare(want, g)
			}
		}
	}
	switch {
	case matched == 1:
		return nil
	case bound:
		return wrongURL("the signature in "+m.header, r)
	default:
		return wrong("the signature in " + m.header)
	}
}

// segment is a part of a signed text.
type segment struct {
	kind part
	text string // of a literal, or a header's name
}

type part int

const (
	literal part = iota
	bodyPart
	stampPart
	urlPart
	methodPart
	pathPart
	queryPart
	headerPart
)

func (s segment) write(w io.Writer, r *Request, base, stamp string) error {
	switch s.kind {
	case bodyPart:
		_, err := w.Write(r.Body)
		return err
	case stampPart:
		_, err := io.WriteString(w, stamp)
		return err
	case urlPart:
		_, err := io.WriteString(w, base+r.Target)
		return err
	case methodPart:
		_, err := io.WriteString(w, r.Method)
		return err
	case pathPart:
		_, err := io.WriteString(w, r.Path())
		return err
	case queryPart:
		_, err := io.WriteString(w, r.RawQuery())
		return err
	case headerPart:
		value, err := one(r, s.text)
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, value)
		return err
	default:
		_, err := io.WriteString(w, s.text)
		return err
	}
}
