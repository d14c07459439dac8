// Package value reads and writes JSON values without losing a digit of their numbers.
//
// A value is nil, bool, string, int64, float64, json.Number, []any or map[string]any. A number is an int64 or a
// float64 where that writes it back exactly as it was read; every other number (12345678901234567890, 1.10,
// 1e400) stays a json.Number.
package value
