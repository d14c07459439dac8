package expr

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// path reads SOURCE:ARG.name[0]["name"][*] at i. It is nil where no known source stands there, or where
// something is wrong, which is then a problem.
func (p *parser) path(i int) (*Reference, int) {
	n := scanName(p.s[i:])
	arg, known := p.rules.Sources[p.s[i:i+n]]
	if n == 0 || !known {
		return nil, i
	}
	ref := &Reference{Source: p.s[i : i+n], At: p.at, Offset: i}
	end := i + n
	if arg != NoArg && end < len(p.s) && p.s[end] == ':' {
		a := scanName(p.s[end+1:])
		ref.Arg = p.s[end+1 : end+1+a]
		end += 1 + a
	}
	if ref.Arg == "" && arg == RequiredArg {
		p.fail(end, ref.Source+" stands without an argument", "say which: ${"+ref.Source+":NAME"+p.s[end:end+stepText(p.s[end:])]+"}")
		return nil, end
	}
	for {
		step, next, ok := p.step(end)
		if !ok {
			return nil, end
		}
		if next == end {
			break
		}
		ref.Path, end = append(ref.Path, step), next
	}
	ref.Text = p.s[i:end]
	return ref, end
}

// stepText gives the length of the .name that s begins with.
func stepText(s string) int {
	if !strings.HasPrefix(s, ".") {
		return 0
	}
	return 1 + scanName(s[1:])
}

// step reads one step of a path at i. Where none is, or one that only an expression can read, next is i.
func (p *parser) step(i int) (s Step, next int, ok bool) {
	rest := p.s[i:]
	switch {
	case strings.HasPrefix(rest, ".."):
		return s, i, true
	case strings.HasPrefix(rest, "."):
		return p.nameStep(i, i+1)
	case strings.HasPrefix(rest, "?.") && scanName(rest[2:]) > 0:
		return p.nameStep(i, i+2) // a path never fails on what is missing, so ?. is .
	case strings.HasPrefix(rest, "["):
		return p.bracketStep(i)
	}
	return s, i, true
}

func (p *parser) nameStep(i, at int) (s Step, next int, ok bool) {
	n := scanName(p.s[at:])
	name := p.s[at : at+n]
	switch {
	case n == 0:
		p.fail(at, "a name is missing behind the dot", `other keys are written ["…"]`)
		return s, i, false
	case strings.HasSuffix(name, "-"):
		p.fail(at+n-1, "a - belongs to the name that it touches", "put blanks on both sides of an operator")
		return s, i, false
	case strings.HasPrefix(p.s[at+n:], "("):
		return s, i, true // a method, left to the expression
	}
	return Step{Name: name}, at + n, true
}

func (p *parser) bracketStep(i int) (s Step, next int, ok bool) {
	at := p.blanks(i + 1)
	if at >= len(p.s) {
		return s, i, true
	}
	end := at
	switch c := p.s[at]; {
	case c == '*':
		s.Kind, end = All, at+1
	case c == '-' || c >= '0' && c <= '9':
		for end++; end < len(p.s) && p.s[end] >= '0' && p.s[end] <= '9'; {
			end++
		}
		index, err := strconv.Atoi(p.s[at:end])
		if err != nil {
			return s, i, true
		}
		s.Kind, s.Index = Index, index
	case c == '"' || c == '\'':
		text, after, ok := p.quoted(at)
		if !ok {
			return s, i, true
		}
		s.Name, end = text, after
	default:
		return s, i, true
	}
	end = p.blanks(end)
	if end >= len(p.s) || p.s[end] != ']' {
		return s, i, true // an expression within the brackets
	}
	return s, end + 1, true
}

// quoted reads a plain quoted text at i, without ${…} in it.
func (p *parser) quoted(i int) (text string, end int, ok bool) {
	problems := len(p.problems)
	refs := len(p.refs)
	t := p.text(i+1, p.s[i])
	c, literal := t.node().(constant)
	if !t.ok || !literal || len(p.problems) > problems || len(p.refs) > refs {
		p.problems, p.refs = p.problems[:problems], p.refs[:refs]
		return "", i, false
	}
	return c.text(), t.end + 1, true
}

// scanName gives the length of the name that s begins with: letters, digits, _ and -.
func scanName(s string) int {
	n := 0
	for n < len(s) {
		c := s[n]
		if c < utf8.RuneSelf {
			if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				break
			}
			n++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[n:])
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			break
		}
		n += size
	}
	return n
}
