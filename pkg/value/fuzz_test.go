package value_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/value"
)

// FuzzDecode holds Decode against encoding/json: both take the same texts and read the same values, and what was
// read is written back with the same numbers.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`null`, `[1,2.50,-0,1e9,"a\u00e9\ud83d\ude00"]`, `{"a":{"b":[true,false]},"a":1}`, `12345678901234567890`, `1e400`,
		`"\ud800\udc00"`, "\"\xff\"", `{"":0.1}`, ` [ ] `, `[1,]`, `01`, `"\u12"`, "\"\u2028\"", `1.7976931348623157e+309`, `-1E-7`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := value.Decode(data)
		if err != nil {
			if json.Valid(data) && !strings.Contains(err.Error(), "levels") {
				t.Fatalf("Decode refuses valid JSON %q: %v", data, err)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("Decode takes %q, encoding/json does not: %v", data, err)
		}
		if diff := cmp.Diff(spell(want), spell(got)); diff != "" {
			t.Fatalf("Decode(%q) differs from encoding/json:\n%s", data, diff)
		}
		text, err := value.Encode(got)
		if err != nil || !json.Valid(text) {
			t.Fatalf("Encode(%#v) = %s, %v", got, text, err)
		}
		again, err := value.Decode(text)
		if err != nil || !cmp.Equal(got, again) {
			t.Fatalf("%q was read as %#v, and again as %#v, %v", data, got, again, err)
		}
	})
}

// spell writes every number as text, as it stands.
func spell(v any) any {
	switch v := v.(type) {
	case json.Number, int64, float64:
		return json.Number(value.Text(v))
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = spell(v[i])
		}
		return l
	case map[string]any:
		m := make(map[string]any, len(v))
		for k := range v {
			m[k] = spell(v[k])
		}
		return m
	}
	return v
}

// FuzzEncode checks that every value survives being written and read.
func FuzzEncode(f *testing.F) {
	f.Add("a", int64(1), 0.5, true)
	f.Add("<\xff\x00\u2028\"\\", int64(math.MinInt64), 1e21, false)
	f.Add("", int64(0), math.SmallestNonzeroFloat64, false)
	f.Fuzz(func(t *testing.T, s string, i int64, n float64, b bool) {
		if math.IsNaN(n) || math.IsInf(n, 0) {
			return
		}
		v := map[string]any{s: []any{i, n, b, nil, s, map[string]any{"i": i, "s" + s: s}}, "": json.Number("12345678901234567890.0")}
		text, err := value.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		standard, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := value.Decode(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		want, err := value.Decode(standard)
		if err != nil {
			t.Fatalf("%s: %v", standard, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("Encode wrote %s, encoding/json %s\n%s", text, standard, diff)
		}
		valid := strings.ToValidUTF8(s, "\ufffd") == s
		if valid && !value.Equal(v, got) {
			t.Fatalf("%#v was written as %s and read as %#v", v, text, got)
		}
	})
}
