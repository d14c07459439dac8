package compose

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/mattn/go-runewidth"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Invalid is the error of a compose file: everything that is wrong in it.
//
//nolint:errname // a compose.Invalid reads as what it is
type Invalid struct {
	Problems []Problem `json:"problems"`
}

// Error gives every problem with its place, its line and a caret.
func (e *Invalid) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// Unwrap makes it a fault of the kind invalid, for exit codes and HTTP statuses.
func (e *Invalid) Unwrap() error {
	return fault.New(fault.Invalid, "the compose file has errors", "")
}

// String gives file:line:column, or as much of it as is known.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.File == "":
		return fmt.Sprintf("line %d, column %d", p.Line, p.Column)
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
}

// String gives the problem as a person reads it: place and message, the line with a caret, and what to do.
func (p Problem) String() string {
	var b strings.Builder
	if place := p.Pos.String(); place != "" {
		b.WriteString(place + ": ")
	}
	b.WriteString(p.Message)
	if p.Line != "" {
		number := ""
		if p.Pos.Line > 0 {
			number = strconv.Itoa(p.Pos.Line)
		}
		line, caret := excerpt(p.Line, p.Pos.Column)
		fmt.Fprintf(&b, "\n  %5s | %s", number, line)
		if caret != "" {
			fmt.Fprintf(&b, "\n  %5s | %s", "", caret)
		}
	}
	if p.Hint != "" {
		b.WriteString("\n        " + p.Hint)
	}
	return b.String()
}

// excerpt cuts a line to what a terminal shows, and puts a caret under the column: a letter such as 한 takes two.
func excerpt(line string, column int) (text, caret string) {
	const width = 160
	runes := []rune(strings.ReplaceAll(line, "\t", " "))
	at := min(column-1, len(runes))
	start := 0
	if at > width-20 {
		start = at - width/2
	}
	end := min(len(runes), start+width)
	text = string(runes[start:end])
	if start > 0 {
		text = "…" + text
		at++
	}
	if end < len(runes) {
		text += "…"
	}
	if at < 0 {
		return text, ""
	}
	return text, strings.Repeat(" ", runewidth.StringWidth(string([]rune(text)[:at-start]))) + "^"
}

// MarshalJSON gives the problem for programs: {file, line, column, path, message, hint, text}.
func (p Problem) MarshalJSON() ([]byte, error) {
	text, _ := excerpt(p.Line, p.Pos.Column)
	return json.Marshal(struct {
		File    string `json:"file,omitempty"`
		Line    int    `json:"line,omitempty"`
		Column  int    `json:"column,omitempty"`
		Path    string `json:"path,omitempty"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
		Text    string `json:"text,omitempty"`
	}{p.Pos.File, p.Pos.Line, p.Pos.Column, p.Path, p.Message, p.Hint, text})
}

// ordered sorts problems by file in the order of loading, then by place, and drops repetitions.
func ordered(problems []Problem, files []string) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(slices.Index(files, a.Pos.File), slices.Index(files, b.Pos.File)),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column),
		)
	})
	return slices.CompactFunc(problems, func(a, b Problem) bool {
		return a.Pos == b.Pos && a.Message == b.Message
	})
}

func letters(word string) string {
	r := []rune(word)
	slices.Sort(r)
	return string(r)
}

// Nearest gives the candidate that a word was probably meant to be, or "".
func Nearest(word string, candidates []string) string {
	size := len([]rune(word))
	best, distance := "", max(size/3, min(size-1, 1))+1
	if len(word) > 200 || len(candidates) > 200 {
		return ""
	}
	for _, c := range candidates {
		d := levenshtein.Distance(strings.ToLower(word), strings.ToLower(c), nil)
		if strings.HasPrefix(c, word) && len(word) > 2 || letters(word) == letters(c) {
			d = min(d, 1) // the beginning of it, or letters swapped
		}
		if d < distance {
			best, distance = c, d
		}
	}
	return best
}

// suggest gives "did you mean x?" where a candidate is close to the word, else the candidates where they are few.
func suggest(word string, candidates []string) string {
	best := Nearest(word, candidates)
	switch {
	case best != "":
		return "did you mean " + best + "?"
	case len(candidates) == 0 || len(candidates) > 12:
		return ""
	default:
		return "there is: " + strings.Join(candidates, ", ")
	}
}
