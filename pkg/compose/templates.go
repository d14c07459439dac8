package compose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// scope is what the templates of a field may refer to.
type scope struct {
	name  string // where, for messages: "a job's input"
	rules expr.Rules
}

// scopes are the scopes of a compose file.
type scopes struct {
	env      scope // typed fields
	received scope // a listener's templates
	request  scope // what a component sends
	response scope // what is evaluated when the response is there
	result   scope // a component's output, and the status of a poll
	input    scope // of a job: before it runs
	output   scope // of a job: when it has run
	failed   scope // of a job's on_error
	each     scope // one item's input
	eachDone scope // one item's output
	whole    scope // a workflow's output
	hook     scope // the input of on_success and on_failure
	start    scope // a workflow, before a run of it starts
	all      scope // of everything
}

func newScopes() scopes {
	of := func(name string, sources ...string) scope {
		rules := expr.Rules{Sources: map[string]expr.Arg{"env": expr.NoArg}}
		for _, s := range sources {
			switch s {
			case "gateway":
				rules.Sources[s] = expr.RequiredArg
			case "listener":
				rules.Sources[s] = expr.OptionalArg
			default:
				rules.Sources[s] = expr.NoArg
			}
		}
		return scope{name, rules}
	}
	run := []string{"input", "jobs", "context", "gateway", "listener"}
	action := []string{"input", "context", "gateway", "listener"}
	received := []string{"body", "query", "header", "path", "item", "request"}
	with := func(base []string, more ...string) []string { return slices.Concat(base, more) }
	return scopes{
		env:      of("this field"),
		received: of("a listener", received...),
		request:  of("a component's request", action...),
		response: of("a completion", with(action, "response")...),
		result:   of("a component's output", with(action, "response", "result")...),
		input:    of("a job's input", with(run, "output", "error")...),
		output:   of("a job's output", with(run, "output", "error")...),
		failed:   of("the output of on_error", with(run, "output", "error")...),
		each:     of("an item's input", with(run, "output", "error", "item", "index")...),
		eachDone: of("an item's output", with(run, "output", "error", "item", "index")...),
		whole:    of("a workflow's output", with(run, "output")...),
		hook:     of("the input of a hook", with(run, "output", "error")...),
		start:    of("a workflow's concurrency", "input", "context"),
		all:      of("a file", slices.Concat(run, received, []string{"output", "error", "index", "response", "result"})...),
	}
}

// rules are those that a template of the scope is compiled by. Which sources are known where has changed, and may change: of what
// is stored, the run is asked when it comes there.
func (d *decoder) rules(in scope) expr.Rules {
	if d.stored {
		return d.scopes.all.rules
	}
	return in.rules
}

// use is a template at its place in the file.
type use struct {
	n    *node
	in   scope
	refs []expr.Reference
}

// template compiles a value and notes its references. It is nil where the value cannot be compiled, which is reported;
// what it reads beside its mistake is checked all the same.
func (d *decoder) template(n *node, in scope) *expr.Template {
	t, ok := d.compile(n, in)
	if refs := t.References(); len(refs) > 0 {
		u := use{n: n, in: in, refs: refs}
		d.uses = append(d.uses, u)
		d.all = append(d.all, u)
	}
	if !ok {
		return nil
	}
	return t
}

// compile gives the template, and whether it can be used. One that is stored can be: what cannot be read fails whoever needs it.
func (d *decoder) compile(n *node, in scope) (t *expr.Template, ok bool) {
	t, problems := expr.Lenient(n.any(), d.rules(in))
	to := &d.problems
	if d.stored {
		to = &d.contained
	}
	for _, p := range problems {
		at := n.at(p.Path)
		hint := p.Hint
		if elsewhere := d.elsewhere(p.Message, in); elsewhere != "" {
			hint = elsewhere
		}
		if strings.HasSuffix(p.Message, "is not closed") && d.commented(at) {
			hint = `put the value in quotes: in YAML a comment begins with " #"`
		}
		d.report(to, d.within(at, p.Offset), at.path, p.Message, hint)
	}
	return t, len(problems) == 0 || d.stored
}

// commented tells whether YAML has taken the end of a value without quotes for a comment.
func (d *decoder) commented(n *node) bool {
	line := lineAt(d.lines[n.pos.File], n.pos.Line)
	rest := line[byteAt(line, n.pos.Column-1):]
	return rest != "" && !strings.ContainsRune(`"'|>`, rune(rest[0])) && strings.Contains(rest, " #")
}

// elsewhere says where a source is known that is not known here.
func (d *decoder) elsewhere(message string, in scope) string {
	name, ok := strings.CutPrefix(message, "unknown source ")
	if !ok {
		return ""
	}
	var where []string
	s := d.scopes
	for _, in := range []scope{s.received, s.response, s.result, s.input, s.each} {
		if _, ok := in.rules.Sources[name]; ok && len(where) < 3 {
			where = append(where, in.name)
		}
	}
	if len(where) == 0 {
		return ""
	}
	if in.name == d.scopes.env.name {
		return "it is read once, when the file is loaded: only ${env.…} is known in it"
	}
	return "${" + name + "} is known in " + strings.Join(where, ", ")
}

// judgeRef is judgef at a reference: what is not there is null when it is evaluated, or an error then.
func (d *decoder) judgeRef(u use, r expr.Reference, hint, message string) {
	if !d.stored {
		d.wrongRef(u, r, hint, message)
	}
}

// wrongRef reports what cannot be carried out, at a reference.
func (d *decoder) wrongRef(u use, r expr.Reference, hint, message string) {
	at := u.n.at(r.At)
	d.report(&d.problems, d.within(at, r.Offset), at.path, message, hint)
}

// within gives the place of a byte in the text of a scalar. The ${ of the value are counted and found again in the
// file, so that it holds for quoted, folded and literal text.
func (d *decoder) within(n *node, offset int) Pos {
	s, ok := n.text()
	if !ok || offset > len(s) || n.pos.Line == 0 {
		return n.pos
	}
	start := strings.LastIndex(s[:min(len(s), offset+2)], "${")
	if start < 0 {
		return n.pos
	}
	nth := strings.Count(s[:start], "${")
	behind := utf8.RuneCountInString(s[start:max(start, offset)])
	lines := d.lines[n.pos.File]
	column := n.pos.Column
	for line := n.pos.Line; line <= len(lines); line++ {
		text := lines[line-1]
		from := byteAt(text, column-1)
		for i := strings.Index(text[from:], "${"); i >= 0; i = strings.Index(text[from:], "${") {
			from += i
			if nth == 0 {
				return Pos{File: n.pos.File, Line: line, Column: utf8.RuneCountInString(text[:from]) + 1 + behind}
			}
			nth--
			from += 2
		}
		column = 1
	}
	return n.pos
}

func byteAt(s string, runes int) int {
	for i := range s {
		if runes <= 0 {
			return i
		}
		runes--
	}
	return len(s)
}

func hasExpression(s string) bool { return strings.Contains(s, "${") }

// expressions gives where each ${…} of a text begins and what stands within it, the outermost ones alone.
func expressions(s string) (starts []int, within []string) {
	for i := 0; i+1 < len(s); i++ {
		if s[i] != '$' || s[i+1] != '{' {
			continue
		}
		if i > 0 && s[i-1] == '$' {
			i++
			continue
		}
		depth, quote, start := 1, byte(0), i+2
		for i = start; i < len(s) && depth > 0; i++ {
			switch c := s[i]; {
			case quote != 0 && c == '\\':
				i++
			case c == quote:
				quote = 0
			case quote != 0:
			case c == '"', c == '\'':
				quote = c
			case c == '{':
				depth++
			case c == '}':
				depth--
			}
		}
		if depth == 0 {
			starts, within = append(starts, start), append(within, s[start:i-1])
			i--
		}
	}
	return starts, within
}

// A variable that is read as it stands, with nothing to fall back on.
var bareVariable = regexp.MustCompile(`^\s*env(?:\.([\pL\pN_-]+)|\["([^"]+)"\])\s*(?:as\s+\w+\s*)?$`)

// unset notes the variables that a template needs and that are not set, and tells whether there are any.
func (d *decoder) unset(n *node) bool {
	missing := false
	n.leaves(func(leaf *node) {
		s, _ := leaf.text()
		if !hasExpression(s) {
			return
		}
		starts, within := expressions(s)
		for i, e := range within {
			m := bareVariable.FindStringSubmatch(e)
			if m == nil {
				continue
			}
			name := m[1] + m[2]
			if _, ok := d.env(name); !ok {
				missing = true
				d.report(&d.needs, d.within(leaf, starts[i]), leaf.path, fmt.Sprintf("the variable %s is not set", name),
					"set it, or give it a default: ${env."+name+" | …}")
			}
		}
	})
	return missing
}
