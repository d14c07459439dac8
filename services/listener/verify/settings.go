package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// defaultTolerance holds wherever the signed text holds a time.
const defaultTolerance = 5 * time.Minute

// settings reads a Spec, notes what is asked for, and collects all that is wrong with it.
type settings struct {
	spec     Spec
	used     map[string]bool
	secret   bool // secrets were asked for
	problems []string
}

func (s *settings) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// secrets gives the secrets; there must be one, and none may be empty.
func (s *settings) secrets() [][]byte {
	s.secret = true
	if len(s.spec.Secrets) == 0 {
		s.problem("verify.secret is missing")
	}
	return s.optionalSecrets()
}

// optionalSecrets gives the secrets, of which none may be empty: an empty one is a variable that is not set.
func (s *settings) optionalSecrets() [][]byte {
	s.secret = true
	keys := make([][]byte, 0, len(s.spec.Secrets))
	for i, text := range s.spec.Secrets {
		if strings.TrimSpace(text) == "" {
			s.problem("verify.secret %d is empty: is its variable set?", i+1)
		}
		keys = append(keys, []byte(text))
	}
	return keys
}

// list gives an option's values, under its singular and plural names. An empty value is a problem.
func (s *settings) list(names ...string) []string {
	var all []string
	for _, name := range names {
		s.used[name] = true
		for _, value := range s.spec.Options[name] {
			if strings.TrimSpace(value) == "" {
				s.problem("verify.%s is empty: is its variable set?", name)
				continue
			}
			all = append(all, value)
		}
	}
	return all
}

// text gives an option's only value, or fallback.
func (s *settings) text(name, fallback string) string {
	switch values := s.list(name); len(values) {
	case 0:
		return fallback
	case 1:
		return values[0]
	default:
		s.problem("verify.%s takes one value", name)
		return fallback
	}
}

// required gives an option's only value, which must be there.
func (s *settings) required(name string) string {
	value := s.text(name, "")
	if value == "" && len(s.spec.Options[name]) == 0 {
		s.problem("verify.%s is missing", name)
	}
	return value
}

// oneOf gives an option that is one of several words.
func (s *settings) oneOf(name, fallback string, words ...string) string {
	value := s.text(name, fallback)
	if value != "" && !slices.Contains(words, value) {
		s.problem("verify.%s is %q, not one of %s", name, value, strings.Join(words, ", "))
		return fallback
	}
	return value
}

// tolerance gives how far a signed time may be off; 0: any.
func (s *settings) tolerance(fallback time.Duration) time.Duration {
	switch t := s.spec.Tolerance; {
	case t == nil:
		return fallback
	case *t < 0:
		s.problem("verify.tolerance is negative")
		return fallback
	default:
		return *t
	}
}

// untimed refuses a tolerance where nothing signed says how old a request is.
func (s *settings) untimed() {
	if t := s.spec.Tolerance; t != nil && *t != 0 {
		s.problem("verify.tolerance is given, but %s signs no time that could be checked", s.spec.Type)
	}
}

func (s *settings) fetcher() Fetcher {
	if s.spec.Fetch == nil {
		s.problem("%s has to fetch keys, and there is nothing to fetch them with", s.spec.Type)
	}
	return s.spec.Fetch
}

// err gives all problems as one fault, and with them options and secrets that nothing asked for.
func (s *settings) err() error {
	for _, name := range slices.Sorted(maps.Keys(s.spec.Options)) {
		if !s.used[name] {
			s.problem("verify.%s means nothing to %s", name, s.spec.Type)
		}
	}
	if len(s.spec.Secrets) > 0 && !s.secret {
		s.problem("verify.secret means nothing to %s", s.spec.Type)
	}
	if len(s.problems) == 0 {
		return nil
	}
	slices.Sort(s.problems)
	return fault.New(fault.Invalid, strings.Join(s.problems, "; "), "see docs/verification.md for what "+s.spec.Type+" takes")
}
