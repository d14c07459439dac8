package expr

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/switchbackhq/switchback/pkg/value"
)

// defaultAt reads the default that begins at i, up to the next |, an "as" or the }.
func (p *parser) defaultAt(i int) (node, int, []*Reference) {
	if i >= len(p.s) {
		return constant{""}, i, nil
	}
	switch c := p.s[i]; {
	case c == '"' || c == '\'':
		return p.quotedDefault(i)
	case c == '{' || c == '[':
		if v, end, ok := p.jsonDefault(i); ok {
			return constant{v}, end, nil
		}
	case strings.HasPrefix(p.s[i:], "${"):
		refs, problems := len(p.refs), len(p.problems)
		n, end, tails := p.hole(i)
		if k := p.blanks(end); len(p.problems) > problems || p.ends(k) || p.keywordAs(k) {
			return n, k, tails
		}
		p.refs = p.refs[:refs] // text that begins with ${…}
	}
	return p.wordsDefault(i)
}

func (p *parser) quotedDefault(i int) (node, int, []*Reference) {
	t := p.text(i+1, p.s[i])
	if !t.ok {
		p.fail(i, "the text that begins here does not end", "add the closing "+p.s[i:i+1])
		return constant{}, t.end, nil
	}
	k := p.blanks(t.end + 1)
	if !p.ends(k) && !p.keywordAs(k) {
		p.fail(k, "nothing may stand behind a quoted default but }", "put all of it into the quotes, or leave them out")
	}
	return t.node(), k, t.tails
}

// jsonDefault reads a list or a map written as JSON.
func (p *parser) jsonDefault(i int) (any, int, bool) {
	d := json.NewDecoder(strings.NewReader(p.s[i:]))
	var raw json.RawMessage
	if d.Decode(&raw) != nil {
		return nil, 0, false
	}
	end := p.blanks(i + int(d.InputOffset()))
	v, err := value.Decode(raw)
	return v, end, err == nil && (p.ends(end) || p.keywordAs(end))
}

// call looks like a function call.
var call = regexp.MustCompile(`^([A-Za-z_]\w*)\s*\(.*\)$`)

// wordsDefault reads a default without quotes: true, false, null, a number, or else text as it stands.
func (p *parser) wordsDefault(i int) (node, int, []*Reference) {
	t := p.text(i, '}')
	if !t.ok {
		return constant{}, t.end, nil // the caller says that } is missing
	}
	last := len(t.parts) - 1
	if last < 0 {
		return constant{""}, t.end, nil
	}
	end := t.end
	if c, ok := t.parts[last].(constant); ok && t.words {
		s := c.text()
		if as := trailingAs.FindStringIndex(s); as != nil {
			// Escapes before it cannot move its distance from the end.
			end -= len(s) - as[0]
			s = s[:as[0]]
		}
		t.parts[last] = constant{strings.TrimRight(s, " \t\r\n")}
	}
	if c, ok := t.parts[0].(constant); ok && last == 0 && t.words {
		s := c.text()
		if m := call.FindStringSubmatch(s); len(m) > 1 && isFunction(m[1]) {
			p.fail(i, "what stands behind | is a default, taken as text; functions are not called there",
				"write ${"+m[1]+"(…)}, or put the text into quotes")
		}
		return constant{word(s)}, end, nil
	}
	return t.node(), end, t.tails
}

// trailingAs is a conversion behind words.
var trailingAs = func() *regexp.Regexp {
	words := make([]string, 0, len(conversions))
	for to := range conversions {
		words = append(words, string(to))
	}
	return regexp.MustCompile(`\s+as\s+(` + strings.Join(words, "|") + `)\s*$`)
}()

// word gives the value of a default without quotes.
func word(s string) any {
	switch s {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	}
	if n, err := value.Number(s); err == nil {
		return n
	}
	return s
}
