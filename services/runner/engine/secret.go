package engine

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

// Secrets are the values of environment variables that templates have used: they are shown nowhere. The zero value has none.
type Secrets struct {
	mu     sync.Mutex
	values []string
}

// minSecret is how long a value must be to be worth hiding: shorter ones would blot out common text.
const minSecret = 6

// Add hides a value, also as it stands in URLs and in JSON.
func (s *Secrets) Add(v string) {
	if len(v) < minSecret {
		return
	}
	forms := []string{v, url.QueryEscape(v), url.PathEscape(v), (&url.URL{Path: v}).EscapedPath()}
	if quoted, err := value.Encode(v); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, form := range forms {
		if !slices.Contains(s.values, form) {
			s.values = append(s.values, form)
		}
	}
	// The longer ones first: of one that holds another, nothing is left over.
	slices.SortFunc(s.values, func(a, b string) int { return len(b) - len(a) })
}

// Read hides what a reference has given, where that is a variable of the environment.
func (s *Secrets) Read(ref *expr.Reference, v any) {
	if ref.Source == "env" {
		s.Add(value.Text(v))
	}
}

// Mask gives a text with *** in the place of what is hidden.
func (s *Secrets) Mask(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.values {
		text = strings.ReplaceAll(text, v, "***")
	}
	return text
}

// MaskJSON does so within the texts of a JSON value, which stays one.
func (s *Secrets) MaskJSON(raw json.RawMessage) json.RawMessage {
	s.mu.Lock()
	none := len(s.values) == 0
	s.mu.Unlock()
	if none || s.Mask(string(raw)) == string(raw) {
		return raw
	}
	v, err := value.Decode(raw)
	if err == nil {
		raw, err = value.Encode(s.mask(v))
	}
	if err != nil {
		return json.RawMessage(`"***"`)
	}
	return raw
}

func (s *Secrets) mask(v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = s.mask(item)
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, item := range v {
			m[s.Mask(k)] = s.mask(item)
		}
		return m
	}
	text := value.Text(v)
	if masked := s.Mask(text); masked != text {
		return masked
	}
	return v
}

// noting is a scope that hides the variables that are read in it.
type noting struct {
	expr.Scope
	secrets *Secrets
}

func (n noting) Resolve(ref *expr.Reference) (any, error) {
	v, err := n.Scope.Resolve(ref)
	if err == nil {
		n.secrets.Read(ref, v)
	}
	return v, err
}

// ReadsVariables tells whether a template reads variables of the environment.
func ReadsVariables(t *expr.Template) bool {
	return t != nil && slices.ContainsFunc(t.References(), func(r expr.Reference) bool { return r.Source == "env" })
}
