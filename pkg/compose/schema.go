package compose

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// schema is a JSON Schema of one value.
type schema map[string]any

// definition is a shape as the schema sees it.
type definition struct {
	name, doc  string
	required   []string
	properties map[string]schema
	short      schema   // nil: a mapping alone
	rules      []schema // what else holds of it
}

func (s shape[T]) definition() definition {
	def := definition{name: strings.ReplaceAll(s.name, " ", "-"), doc: s.doc, properties: map[string]schema{}}
	if s.rules != nil {
		def.rules = s.rules()
	}
	for _, f := range s.fields {
		property := maps.Clone(f.schema)
		if property == nil {
			property = schema{}
		}
		property["description"] = f.doc
		if f.fallback != "" {
			var v any
			if yaml.Unmarshal([]byte(f.fallback), &v) == nil {
				property["default"] = v
			}
		}
		def.properties[f.name] = property
		if f.required {
			def.required = append(def.required, f.name)
		}
	}
	if s.short != nil {
		def.short = s.short.schema
	}
	return def
}

// beside adds the fields that may stand right in a mapping in the place of one below it. None of them is required.
func (d definition) beside(others ...definition) definition {
	for _, o := range others {
		for name, property := range o.properties {
			if d.properties[name] == nil {
				d.properties[name] = property
			}
		}
	}
	return d
}

// later is a definition that is made when the schema is: they refer to each other.
type later func() definition

// ref refers to the schema of a shape.
func ref[T any](s func() shape[T]) schema {
	return schema{"$ref": later(func() definition { return s().definition() })}
}

// Schema gives the JSON Schema of a compose file, for editors.
func Schema() []byte {
	b := schemaBuilder{defs: map[string]any{}}
	properties := map[string]any{}
	for _, s := range []struct {
		section
		of later
	}{
		{sections()[0], func() definition {
			return listenerShape().definition().beside(callbackShape().definition(), triggerShape().definition())
		}},
		{sections()[1], func() definition { return gatewayShape().definition() }},
		{sections()[2], componentDefinition},
		{sections()[3], workflowDefinition},
	} {
		one := b.resolve(schema{"$ref": s.of})
		list := schema{"type": "array", "items": one}
		properties[s.singular] = schema{"$ref": one["$ref"], "description": s.doc}
		properties[s.plural] = schema{"description": s.doc, "anyOf": []any{list}}
		if s.byID {
			properties[s.plural] = schema{"description": s.doc, "anyOf": []any{list, schema{"type": "object", "additionalProperties": one}}}
		}
	}
	properties["controller"] = b.resolve(ref(controllerShape))
	data, err := json.MarshalIndent(map[string]any{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"title":                "Switchback compose file",
		"type":                 "object",
		"properties":           properties,
		"patternProperties":    map[string]any{"^x-": true},
		"additionalProperties": false,
		"allOf":                notBoth(sections()...),
		"$defs":                b.defs,
	}, "", "  ")
	if err != nil {
		return nil // not for maps of plain values
	}
	return append(data, '\n')
}

// componentDefinition joins the components of all types.
func componentDefinition() definition {
	def := componentShape(HTTPClient).definition()
	for _, kind := range componentTypes() {
		def = def.beside(componentShape(kind).definition(), actionShape(kind).definition())
	}
	def.rules = slices.Concat(notBoth(section{singular: "action", plural: "actions"}), componentRules())
	action := actionDefinition
	def.properties["action"] = schema{"$ref": later(action), "description": def.properties["action"]["description"]}
	def.properties["actions"] = schema{
		"description": def.properties["actions"]["description"],
		"anyOf": []any{
			schema{"type": "array", "items": schema{"$ref": later(action)}},
			schema{"type": "object", "additionalProperties": schema{"$ref": later(action)}},
		},
	}
	return def
}

// actionDefinition joins the actions of all types.
func actionDefinition() definition {
	def := actionShape(HTTPClient).definition()
	for _, kind := range componentTypes() {
		def = def.beside(actionShape(kind).definition())
	}
	def.properties["id"] = maps.Clone(idSchema())
	def.properties["id"]["description"] = "Its name. Needed where there are several."
	def.required = nil // which are depends on the type
	return def
}

// workflowDefinition lets a workflow hold its only job's fields.
func workflowDefinition() definition {
	def := workflowShape().definition().beside(jobShape().definition())
	def.rules = notBoth(section{singular: "job", plural: "jobs"})
	inputs := schema{"type": "object", "additionalProperties": schema{"anyOf": []any{ref(inputShape), schema{"type": "null"}}}}
	for _, name := range []string{"job", "jobs"} {
		def.rules = append(def.rules, schema{"if": schema{"required": []string{name}}, "then": schema{"properties": schema{"input": inputs}}})
	}
	// The second is a job's, and may be anything.
	def.properties["input"] = schema{
		"description": def.properties["input"]["description"],
		"anyOf":       []any{schema{"type": "object", "additionalProperties": ref(inputShape)}, schema{}},
	}
	return def
}

// schemaBuilder collects the definitions that are referred to.
type schemaBuilder struct {
	defs map[string]any
}

func (b *schemaBuilder) resolve(s schema) schema {
	out := schema{}
	for _, k := range slices.Sorted(maps.Keys(s)) {
		switch v := s[k].(type) {
		case later:
			out[k] = b.define(v())
		case schema:
			out[k] = b.resolve(v)
		case []any:
			all := make([]any, len(v))
			for i, item := range v {
				if of, ok := item.(schema); ok {
					item = b.resolve(of)
				}
				all[i] = item
			}
			out[k] = all
		default:
			out[k] = v
		}
	}
	return out
}

// define adds a definition and gives the reference to it.
func (b *schemaBuilder) define(def definition) string {
	name := "#/$defs/" + def.name
	if b.defs[def.name] != nil {
		return name
	}
	object := schema{"type": "object", "description": def.doc, "additionalProperties": false}
	b.defs[def.name] = object
	properties := map[string]any{}
	for k, p := range def.properties {
		properties[k] = orExpression(b.resolve(p))
	}
	object["properties"] = properties
	if len(def.required) > 0 {
		object["required"] = def.required
	}
	if len(def.rules) > 0 {
		rules := make([]schema, len(def.rules))
		for i, r := range def.rules {
			rules[i] = b.resolve(r)
		}
		object["allOf"] = rules
	}
	if def.short != nil {
		b.defs[def.name] = schema{"anyOf": []any{object, orExpression(b.resolve(def.short))}}
	}
	return name
}
