package value_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/value"
)

func TestDecode(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want any
	}{
		{`null`, nil},
		{` true `, true},
		{"\r\n\tfalse", false},
		{`"a"`, "a"},
		{`""`, ""},
		{`"\"\\\/\b\f\n\r\t\u00e9"`, "\"\\/\b\f\n\r\té"},
		{`"é😀"`, "é😀"},
		{`"\ud83d\ude00"`, "😀"},
		{`"x\ud83d"`, "x\ufffd"},
		{`"\ud83dA"`, "\ufffdA"},
		{`"\ude00\ud83d"`, "\ufffd\ufffd"},
		{"\"a\xffb\"", "a\ufffdb"},
		{"\"\xff\"", "\ufffd"},
		{`[]`, []any{}},
		{`{}`, map[string]any{}},
		{`[1, "a" , [ ] ,{}]`, []any{int64(1), "a", []any{}, map[string]any{}}},
		{`{"a":1,"b":{"a":[null]}}`, map[string]any{"a": int64(1), "b": map[string]any{"a": []any{nil}}}},
		{`{"a":1,"a":2}`, map[string]any{"a": int64(2)}},

		{`0`, int64(0)},
		{`-1`, int64(-1)},
		{`9223372036854775807`, int64(math.MaxInt64)},
		{`-9223372036854775808`, int64(math.MinInt64)},
		{`9223372036854775808`, json.Number("9223372036854775808")},
		{`123456789012345678901234567890`, json.Number("123456789012345678901234567890")},
		{`0.5`, 0.5},
		{`-0`, math.Copysign(0, -1)},
		{`0.1`, 0.1},
		{`1e-7`, 1e-7},
		{`1e+21`, 1e21},
		{`1.10`, json.Number("1.10")},
		{`1.0`, json.Number("1.0")},
		{`1e3`, json.Number("1e3")},
		{`1E400`, json.Number("1E400")},
		{`3.14159265358979323846`, json.Number("3.14159265358979323846")},
	} {
		got, err := value.Decode([]byte(tc.in))
		if err != nil {
			t.Errorf("Decode(%s): %v", tc.in, err)
			continue
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("Decode(%s):\n%s", tc.in, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tc := range []struct {
		in     string
		offset int
	}{
		{``, 0},
		{`   `, 3},
		{`nul`, 0},
		{`tru e`, 0},
		{`x`, 0},
		{`1 2`, 2},
		{`{} x`, 3},
		{`[1,]`, 3},
		{`[1 2]`, 3},
		{`[1`, 2},
		{`{"a"}`, 4},
		{`{"a":1,}`, 7},
		{`{"a":1 "b"}`, 7},
		{`{a:1}`, 1},
		{`{"a":}`, 5},
		{`01`, 0},
		{`-`, 0},
		{`1.`, 0},
		{`.5`, 0},
		{`1e`, 0},
		{`+1`, 0},
		{`"a`, 2},
		{"\"a\nb\"", 2},
		{`"\x"`, 1},
		{`"\u12"`, 1},
		{`"é\`, 3},
		{`NaN`, 0},
		{"\ufeff{}", 0},
	} {
		got, err := value.Decode([]byte(tc.in))
		var syntax *value.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("Decode(%q) = %v, %v, want a SyntaxError", tc.in, got, err)
			continue
		}
		if syntax.Offset != tc.offset {
			t.Errorf("Decode(%q): %v, want byte %d", tc.in, err, tc.offset)
		}
	}
}

func TestDepth(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	v, err := value.Decode(nested(value.MaxDepth))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := value.Encode(v); err != nil || !bytes.Equal(got, nested(value.MaxDepth)) {
		t.Errorf("Encode: %v", err)
	}
	if _, err := value.Encode([]any{v}); err == nil {
		t.Error("Encode took one level too many")
	}
	if _, err := value.Decode(nested(value.MaxDepth + 1)); err == nil {
		t.Error("Decode took one level too many")
	}
	if _, err := value.Decode([]byte(strings.Repeat(`{"a":`, 1<<20))); err == nil {
		t.Error("Decode took a million levels")
	}
	loop := map[string]any{}
	loop["a"] = loop
	if _, err := value.Encode(loop); err == nil {
		t.Error("Encode wrote a map that holds itself")
	}
}

func TestEncode(t *testing.T) {
	type other struct {
		A string `json:"a"`
	}
	for _, tc := range []struct {
		in   any
		want string
	}{
		{nil, `null`},
		{true, `true`},
		{"<a>&\u2028", "\"<a>&\u2028\""},
		{"\"\\\b\n\r\t\x00\x7f", `"\"\\\u0008\n\r\t\u0000` + "\x7f\""},
		{"a\xffb\xc3", "\"a\ufffdb\ufffd\""},
		{int64(math.MinInt64), `-9223372036854775808`},
		{7, `7`},
		{1.0, `1`},
		{1e21, `1e+21`},
		{1e-9, `1e-9`},
		{1e-10, `1e-10`},
		{math.MaxFloat64, `1.7976931348623157e+308`},
		{json.Number("1.10"), `1.10`},
		{[]any{}, `[]`},
		{[]any(nil), `null`},
		{map[string]any(nil), `null`},
		{map[string]any{"b": []any{int64(1), nil}, "a": map[string]any{}}, `{"a":{},"b":[1,null]}`},
		{other{"<"}, `{"a":"<"}`},
		{json.RawMessage(`{"a": 1.0}`), `{"a":1.0}`},
		{[]string{"a"}, `["a"]`},
	} {
		got, err := value.Encode(tc.in)
		if err != nil || string(got) != tc.want {
			t.Errorf("Encode(%#v) = %s, %v, want %s", tc.in, got, err, tc.want)
		}
	}
	for _, bad := range []any{math.NaN(), math.Inf(1), json.Number(""), json.Number("1 "), json.Number("x"), []any{func() {}}} {
		if got, err := value.Encode(bad); err == nil {
			t.Errorf("Encode(%v) = %s, want an error", bad, got)
		}
	}
}

func TestText(t *testing.T) {
	for _, tc := range []struct {
		in   any
		want string
	}{
		{nil, ""},
		{"a<b", "a<b"},
		{"", ""},
		{true, "true"},
		{false, "false"},
		{int64(-5), "-5"},
		{5, "5"},
		{2.5, "2.5"},
		{100000.0, "100000"},
		{json.Number("12345678901234567890"), "12345678901234567890"},
		{json.Number("1.0"), "1.0"},
		{[]any{int64(1), "a"}, `[1,"a"]`},
		{map[string]any{"b": nil, "a": "<"}, `{"a":"<","b":null}`},
	} {
		if got := value.Text(tc.in); got != tc.want {
			t.Errorf("Text(%#v) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for in, want := range map[string]any{
		"1": int64(1), "-0": math.Copysign(0, -1), "1.5": 1.5, "1.50": json.Number("1.50"), "18446744073709551615": json.Number("18446744073709551615"),
	} {
		if got, err := value.Number(in); err != nil || !cmp.Equal(got, want) {
			t.Errorf("Number(%q) = %#v, %v, want %#v", in, got, err, want)
		}
	}
	for _, bad := range []string{"", " 1", "1 ", "+1", "01", "1.", ".5", "0x1", "1_000", "Infinity", "1e", "1e5x"} {
		if got, err := value.Number(bad); !errors.Is(err, value.ErrNumber) {
			t.Errorf("Number(%q) = %#v, %v, want ErrNumber", bad, got, err)
		}
	}
}

func TestCompare(t *testing.T) {
	ascending := []any{
		json.Number("-1e400"), json.Number("-12345678901234567890"), int64(math.MinInt64), int64(-2), -1.5,
		json.Number("-1e-400"), int64(0), json.Number("1e-99999999999999999999"), 1e-9,
		0.1, json.Number("0.10000000000000000001"), json.Number("0.2"), int64(1), json.Number("1.10"),
		int64(9007199254740992), int64(9007199254740993), int64(math.MaxInt64), json.Number("9223372036854775808"),
		json.Number("12345678901234567890"), json.Number("12345678901234567891"), 1e21,
		json.Number("1e400"), json.Number("1e99999999999999999999"),
	}
	for i, a := range ascending {
		for j, b := range ascending {
			got, ok := value.Compare(a, b)
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if !ok || got != want {
				t.Errorf("Compare(%v, %v) = %d, %v, want %d", a, b, got, ok, want)
			}
			if value.Equal(a, b) != (i == j) || (value.Canonical(a) == value.Canonical(b)) != (i == j) {
				t.Errorf("Equal(%v, %v) = %v; canonical %s, %s", a, b, value.Equal(a, b), value.Canonical(a), value.Canonical(b))
			}
		}
	}
	if got, ok := value.Compare("a", "b"); got != -1 || !ok {
		t.Errorf(`Compare("a", "b") = %d, %v`, got, ok)
	}
	for _, pair := range [][2]any{
		{"1", int64(1)}, {nil, nil}, {true, false}, {[]any{}, []any{}}, {math.NaN(), 1.0}, {1.0, math.NaN()}, {math.NaN(), int64(1)}, {json.Number("x"), int64(1)},
	} {
		if got, ok := value.Compare(pair[0], pair[1]); ok {
			t.Errorf("Compare(%v, %v) = %d, want no order", pair[0], pair[1], got)
		}
	}
}

func TestEqual(t *testing.T) {
	for _, tc := range []struct {
		a, b any
		want bool
	}{
		{nil, nil, true},
		{nil, false, false},
		{nil, "", false},
		{"a", "a", true},
		{"1", int64(1), false},
		{true, true, true},
		{true, "true", false},
		{int64(1), json.Number("1.0"), true},
		{int64(1), 1.0, true},
		{1, json.Number("1e0"), true},
		{int64(0), math.Copysign(0, -1), true},
		{json.Number("100"), json.Number("1E2"), true},
		{json.Number("1E2"), json.Number("1E3"), false},
		{math.NaN(), math.NaN(), false},
		{[]any{int64(1)}, []any{1.0}, true},
		{[]any{int64(1)}, []any{1.0, nil}, false},
		{[]any{}, map[string]any{}, false},
		{map[string]any{"a": nil}, map[string]any{"b": nil}, false},
		{map[string]any{"a": int64(1)}, map[string]any{"a": json.Number("1.0")}, true},
		{map[string]any{"a": int64(1)}, map[string]any{}, false},
	} {
		if got := value.Equal(tc.a, tc.b); got != tc.want {
			t.Errorf("Equal(%#v, %#v) = %v", tc.a, tc.b, got)
		}
		if got := value.Equal(tc.b, tc.a); got != tc.want {
			t.Errorf("Equal(%#v, %#v) = %v", tc.b, tc.a, got)
		}
	}
}
