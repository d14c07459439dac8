package action

import (
	"slices"
	"strings"
	"sync"
)

// secrets are the values of environment variables that an invocation has used: they are shown nowhere.
type secrets struct {
	mu     sync.Mutex
	values []string
}

// minSecret is how long a value must be to be worth hiding: shorter ones would blot out common text.
const minSecret = 6

func (s *secrets) add(v string) {
	if len(v) < minSecret {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.values, v) {
		s.values = append(s.values, v)
	}
}

func (s *secrets) mask(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.values {
		text = strings.ReplaceAll(text, v, "***")
	}
	return text
}
