package compose

// schema is a JSON Schema of one value.
type schema map[string]any

func durationSchema() schema {
	return schema{"type": []string{"number", "string"}, "description": "milliseconds, or with a unit: 250ms, 30s, 5m, 2h, 7d"}
}

func sizeSchema() schema { return schema{"type": []string{"integer", "string"}} }

func oneOrMany(one schema) schema {
	return schema{"anyOf": []any{one, schema{"type": "array", "items": one}}}
}

func templateSchema(kinds ...kind) schema { return schema{} }

func dependsSchema() schema { return schema{} }

func onErrorSchema() schema { return schema{} }

func ref[T any](func() shape[T]) schema { return schema{} }
