package compose

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// syntax reports what the YAML parser says, with what is most often the matter.
func (r *reader) syntax(err error) {
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		r.problem(Pos{File: r.file}, "this is not YAML: "+strings.TrimPrefix(err.Error(), "yaml: "), "")
		return
	}
	at, began := Pos{r.file, e.Mark.Line, e.Mark.Column}, Pos{r.file, e.ContextMark.Line, e.ContextMark.Column}
	message, hint := e.Message, ""
	before, c := r.around(at)
	switch {
	case c == '\t' && strings.TrimSpace(before) == "":
		message, hint = "a tab stands where the line is indented", "indent with spaces: YAML takes no tabs"
	case strings.Contains(message, "cannot start any token"):
		message, hint = fmt.Sprintf("a value cannot begin with %c", c), "put it in quotes"
	case strings.Contains(message, "end of stream") && began.Line > 0:
		at, message, hint = began, "the text that begins here does not end", "add the closing quote"
	case strings.Contains(message, "escape character"):
		hint = `between " and " a backslash itself is written \\; between ' and ' it stands for itself`
	case strings.Contains(message, "mapping values"):
		message = "a key with its colon stands where a value goes on"
		hint = `put a value that holds ": " in quotes; else the line before lacks its colon, or is indented in another way`
	case strings.Contains(message, "expected ',' or"):
		if strings.HasSuffix(before, "$") && c == '{' {
			at.Column--
			message, hint = "a ${…} stands without quotes within { } or [ ]", "put the value in quotes"
			break
		}
		message = fmt.Sprintf("the { or [ of line %d, column %d is not closed before this", began.Line, began.Column)
		hint = "close it; a value that holds one of , [ ] { } stands in quotes"
	case strings.Contains(message, "did not find expected"):
		hint = fmt.Sprintf("is this line indented like those that it belongs to? They begin in line %d, column %d", began.Line, began.Column)
	case strings.Contains(message, "unknown anchor"):
		hint = "an alias *name stands for what &name was put before, further up; a text that begins with * stands in quotes"
	}
	r.problem(at, "this is not YAML: "+message, hint)
}

// around gives what stands in the line before a place, and the character there: 0 at the end of the line.
func (r *reader) around(at Pos) (before string, c rune) {
	line := []rune(lineAt(r.lines, at.Line))
	n := min(max(at.Column-1, 0), len(line))
	if n < len(line) {
		c = line[n]
	}
	return string(line[:n]), c
}
