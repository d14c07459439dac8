package compose

import (
	"slices"
	"strings"
)

// The schemas of the kinds of fields. They take all that the decoder takes, and of the rest as little as a schema can.

// What a text must look like where a value of another type may be written as text: an expression, or such a value.
const (
	anExpression = `\$\{`
	aNumber      = `(\d+(\.\d*)?|\.\d+)`
	aDuration    = `^\s*` + aNumber + `([eE][+-]?\d+)?\s*$|^\s*(` + aNumber + `\s*(ms|us|µs|ns|s|m|h|d|w)\s*)+$`
)

// alsoTaken marks the schema of another way to write a value. The fields' reference leaves it out.
const alsoTaken = "taken as well"

// textSchema is text; a number and a boolean are taken as they are written.
func textSchema() schema { return textLike("") }

func textLike(pattern string) schema {
	s := schema{"type": "string"}
	if pattern != "" {
		s["pattern"] = pattern
	}
	return schema{"anyOf": []any{s, schema{"type": []string{"number", "boolean"}, "$comment": alsoTaken}}}
}

func idSchema() schema {
	return textLike(anExpression + `|^[^\s/\\:${}\[\]"'|*>#,]+$`)
}

func urlSchema() schema {
	return schema{"type": "string", "pattern": anExpression + `|^[hH][tT][tT][pP][sS]?://`}
}

// methodSchema is an HTTP method in letters of either case.
func methodSchema() schema {
	var all []string
	for _, m := range methods() {
		var b strings.Builder
		for _, c := range m {
			b.WriteString("[" + strings.ToLower(string(c)) + string(c) + "]")
		}
		all = append(all, b.String())
	}
	return schema{"type": "string", "pattern": anExpression + `|^(` + strings.Join(all, "|") + `)$`}
}

func durationSchema() schema {
	return schema{
		"type": []string{"number", "string"}, "minimum": 0, "pattern": anExpression + `|` + aDuration,
		"examples": []any{30000, "250ms", "30s", "5m", "2h", "7d"},
	}
}

func sizeSchema() schema {
	return schema{
		"type": []string{"number", "string"}, "minimum": 0, "pattern": anExpression + `|^\s*` + aNumber + `\s*([kmgKMG]([iI]?[bB])?|[bB])?\s*$`,
		"examples": []any{"512KiB", "4MiB", "1GB"},
	}
}

func quorumSchema() schema {
	return schema{"type": []string{"string", "integer"}, "minimum": 1, "pattern": anExpression + `|^(any|all|[1-9]\d*)$`}
}

func earlySchema() schema {
	return schema{"type": []string{"string", "number"}, "minimum": 0, "pattern": anExpression + `|^(run|any)$|` + aDuration}
}

func oneOrMany(one schema) schema {
	return schema{"anyOf": []any{one, schema{"type": "array", "items": one}}}
}

// templateSchema is a value of some kinds, or an expression that gives one.
func templateSchema(kinds ...kind) schema {
	types := []string{"string"}
	for _, k := range kinds {
		switch k {
		case list:
			types = append(types, "array")
		case mapping:
			types = append(types, "object")
		case scalar:
			types = append(types, "number", "boolean")
		case null:
		}
	}
	s := schema{"type": types}
	if !slices.Contains(kinds, scalar) {
		s["pattern"] = anExpression
	}
	return s
}

func dependsSchema() schema {
	id := textSchema()
	return schema{"anyOf": []any{id, schema{"type": "array", "items": schema{
		"anyOf": []any{id, schema{"type": "array", "items": id, "minItems": 1}},
	}}}}
}

func onErrorSchema() schema {
	return schema{"anyOf": []any{
		schema{"const": "ignore"}, ref(onErrorShape), schema{"type": "array", "items": ref(jobShape), "minItems": 1},
	}}
}

// orExpression lets a field of a type be an expression as well, port: ${env.PORT}, and its value be written as text.
func orExpression(s schema) schema {
	pattern := ""
	if s["enum"] != nil {
		pattern = anExpression
	}
	switch s["type"] {
	case "integer":
		pattern = anExpression + `|^\s*[+-]?\d+\s*$`
	case "number":
		pattern = anExpression + `|^[+-]?` + aNumber + `([eE][+-]?\d+)?$`
	case "boolean":
		pattern = anExpression + `|^([tT][rR][uU][eE]|[fF][aA][lL][sS][eE])$`
	}
	if pattern == "" {
		return s
	}
	out := schema{}
	for _, k := range []string{"description", "default"} {
		if v, ok := s[k]; ok {
			out[k] = v
			delete(s, k)
		}
	}
	out["anyOf"] = []any{s, schema{"type": "string", "pattern": pattern, "$comment": alsoTaken}}
	return out
}

// notBoth says that things are written in the singular or in the plural.
func notBoth(sections ...section) []schema {
	rules := make([]schema, len(sections))
	for i, s := range sections {
		rules[i] = schema{"not": schema{"required": []string{s.singular, s.plural}}}
	}
	return rules
}

// ofType is a rule for things of a type. usual is the type of those that name none.
func ofType(name, usual string, then schema) schema {
	is := schema{"properties": schema{"type": schema{"const": name}}, "required": []string{"type"}}
	if name == usual {
		delete(is, "required")
	}
	return schema{"if": is, "then": then}
}

// without forbids fields.
func without(names []string) schema {
	none := schema{}
	for _, name := range names {
		none[name] = false
	}
	return none
}

// jobRules say what a job of each type needs, and that it has nothing of the others.
func jobRules() []schema {
	needs := map[string][]string{
		JobSwitch: {"input", "cases"}, JobForEach: {"input", "do"}, JobFilter: {"input", "where"},
		JobRouter: {"routings"}, JobWorkflow: {"workflow"},
	}
	var rules []schema
	for _, kind := range jobTypes() {
		var others []string
		for _, other := range jobTypes() {
			for _, name := range jobFields()[other] {
				if !slices.Contains(jobFields()[kind], name) && !slices.Contains(others, name) {
					others = append(others, name)
				}
			}
		}
		then := schema{"properties": without(others)}
		if needs[kind] != nil {
			then["required"] = needs[kind]
		}
		if kind == JobDelay {
			then["oneOf"] = []schema{{"required": []string{"duration"}}, {"required": []string{"time"}}}
		}
		rules = append(rules, ofType(kind, JobComponent, then))
	}
	return rules
}

// componentRules say that a component of each type has nothing of the others.
func componentRules() []schema {
	known := func(kind string) []string {
		return slices.Concat(componentShape(kind).names(), actionShape(kind).names())
	}
	var rules []schema
	for _, kind := range componentTypes() {
		var others []string
		for _, other := range componentTypes() {
			for _, name := range known(other) {
				if !slices.Contains(known(kind), name) && !slices.Contains(others, name) {
					others = append(others, name)
				}
			}
		}
		then := schema{"properties": without(others)}
		if name := map[string]string{NATS: "subject", Shell: "command"}[kind]; name != "" {
			then["anyOf"] = []schema{{"required": []string{name}}, {"required": []string{"action"}}, {"required": []string{"actions"}}}
		}
		rules = append(rules, ofType(kind, HTTPClient, then))
	}
	return rules
}

// completionRules say what goes with which kind of completion.
func completionRules(waiting []string, all []string) []schema {
	polling := slices.DeleteFunc(slices.Clone(all), func(name string) bool {
		return name == "type" || name == "timeout" || slices.Contains(waiting, name)
	})
	return []schema{
		ofType(string(CompleteCallback), "", schema{"properties": without(polling)}),
		ofType(string(CompletePolling), "", schema{
			"properties": without(waiting), "anyOf": []schema{{"required": []string{"path"}}, {"required": []string{"endpoint"}}},
		}),
	}
}
