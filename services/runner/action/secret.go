package action

import (
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/switchbackhq/switchback/pkg/value"
)

// secrets are the values of environment variables that an invocation has used: they are shown nowhere.
type secrets struct {
	mu     sync.Mutex
	values []string
}

// minSecret is how long a value must be to be worth hiding: shorter ones would blot out common text.
const minSecret = 6

// add hides a value, also as it stands in URLs and in JSON.
func (s *secrets) add(v string) {
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

func (s *secrets) mask(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.values {
		text = strings.ReplaceAll(text, v, "***")
	}
	return text
}
