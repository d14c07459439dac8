package telemetry

import (
	"slices"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// clean makes the strings of spans what those of OTLP have to be, UTF-8: one that is not, and strangers may send it in a path,
// would cost the whole batch. The SDK leaves that to its users.
func clean(spans []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	cleaned := spans
	for i, s := range spans {
		if utf8.ValidString(s.Name()) && utf8.ValidString(s.Status().Description) && !slices.ContainsFunc(s.Attributes(), dirty) {
			continue
		}
		if &cleaned[0] == &spans[0] {
			cleaned = slices.Clone(spans)
		}
		cleaned[i] = cleanSpan{s}
	}
	return cleaned
}

func dirty(kv attribute.KeyValue) bool {
	return kv.Value.Type() == attribute.STRING && !utf8.ValidString(kv.Value.AsString())
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// cleanSpan is a span whose strings are UTF-8.
type cleanSpan struct{ sdktrace.ReadOnlySpan }

func (s cleanSpan) Name() string { return valid(s.ReadOnlySpan.Name()) }

func (s cleanSpan) Status() sdktrace.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = valid(status.Description)
	return status
}

func (s cleanSpan) Attributes() []attribute.KeyValue {
	all := slices.Clone(s.ReadOnlySpan.Attributes())
	for i, kv := range all {
		if dirty(kv) {
			all[i].Value = attribute.StringValue(valid(kv.Value.AsString()))
		}
	}
	return all
}
