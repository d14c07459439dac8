package settings

import (
	"maps"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// Error is everything that is wrong with the settings.
type Error struct{ Problems []Problem }

// Problem is one setting that is wrong. Origin is where it was written: "file:line", a variable's name, a flag.
type Problem struct {
	Key, Origin, Message, Hint string
}

// Error gives one line a problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// String gives "origin: key message; hint", without the parts that are empty.
func (p Problem) String() string {
	var b strings.Builder
	if p.Origin != "" && p.Origin != p.Key {
		b.WriteString(p.Origin + ": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + " ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// suggest gives the hint for a key that does not exist.
func (l *loader) suggest(key string) string {
	keys := map[string]string{}
	for _, f := range l.known {
		keys[f.key] = f.key
	}
	if near := nearest(key, keys); near != "" {
		return "did you mean " + near + "?"
	}
	return "the settings are " + strings.Join(slices.Sorted(maps.Keys(keys)), ", ")
}

// nearest gives the name that is at most two slips away, or "".
func nearest(name string, among map[string]string) string {
	const slips = 2
	best, distance := "", slips+1
	for _, candidate := range slices.Sorted(maps.Keys(among)) {
		if d := levenshtein.Distance(name, candidate, nil); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}
