package expr

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// nearest gives the name that word was probably meant to be, or "".
func nearest(word string, names iter.Seq[string]) string {
	best, distance := "", 2 // one letter of a short word, a third of a long one
	if len(word) > 3 {
		distance = max(2, len(word)/3) + 1
	}
	for _, n := range slices.Sorted(names) {
		d := levenshtein.Distance(strings.ToLower(word), strings.ToLower(n), nil)
		if letters(word) == letters(n) {
			d = 1 // letters in the wrong order are a slip, too
		}
		if len(word) > 2 && strings.HasPrefix(n, word) || len(n) > 2 && strings.HasPrefix(word, n) {
			d = min(d, 1) // the beginning of it: length is len
		}
		if d < distance {
			best, distance = n, d
		}
	}
	return best
}

// letters gives the letters of a word in order.
func letters(word string) string {
	b := []byte(strings.ToLower(word))
	slices.Sort(b)
	return string(b)
}

// suggest names the nearest of names, or all of them with an introduction.
func suggest(word string, names iter.Seq[string], all string) string {
	if n := nearest(word, names); n != "" {
		return "did you mean " + n + "?"
	}
	return all + strings.Join(slices.Sorted(names), ", ")
}

// sourceHint says what to write instead of an unknown source.
func (p *parser) sourceHint(word string) string {
	names := maps.Keys(p.rules.Sources)
	if before, _, ok := strings.Cut(word, "-"); ok {
		if _, known := p.rules.Sources[before]; known {
			return "a - belongs to the name that it touches: put blanks on both sides of an operator"
		}
	}
	if len(p.rules.Sources) == 0 {
		return "nothing can be referred to here"
	}
	return suggest(word, names, "there are: ")
}
