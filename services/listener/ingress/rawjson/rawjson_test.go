package rawjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/services/listener/ingress/rawjson"
)

func parse(t *testing.T, text string) *rawjson.Document {
	t.Helper()
	d := new(rawjson.Document)
	if err := d.Parse([]byte(text)); err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return d
}

func TestMember(t *testing.T) {
	const text = ` {"id": 12345678901234567890, "a": {"b" :[1, {"c":"x\"}"}, []], "":null}, "ke\u0079": "v", "id": "last" } `
	d := parse(t, text)
	tests := []struct {
		name string
		got  rawjson.Value
		want string
	}{
		{"last of several", d.Member("id"), `"last"`},
		{"last of several, unindexed", d.Root().Member("id"), `"last"`},
		{"escaped key", d.Member("key"), `"v"`},
		{"nested", d.Member("a").Member("b").Index(1).Member("c"), `"x\"}"`},
		{"from the end", d.Member("a").Member("b").Index(-3), `1`},
		{"before the start", d.Member("a").Member("b").Index(-4), ``},
		{"past the end", d.Member("a").Member("b").Index(3), ``},
		{"empty key", d.Member("a").Member(""), `null`},
		{"missing", d.Member("b"), ``},
		{"member of a string", d.Member("key").Member("x"), ``},
		{"index of an object", d.Root().Index(0), ``},
	}
	for _, tt := range tests {
		if string(tt.got) != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, tt.got, tt.want)
		}
	}
}

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		`"a\nb\u00e9"`: "a\nbé", `12345678901234567890.10`: "12345678901234567890.10", `1e3`: "1e3", `true`: "true", `null`: "", `""`: "",
	} {
		if got := parse(t, text).Root().Text(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		for _, words := range [][]string{nil, {"other", want}, {"null", `a\nb\u00e9`, "\"\""}} {
			if got := parse(t, text).Root().TextOf(words); got != want {
				t.Errorf("%s among %q: %q, want %q", text, words, got, want)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("[", rawjson.MaxDepth+1) + strings.Repeat("]", rawjson.MaxDepth+1)
	tests := []struct {
		text   string
		offset int
	}{
		{``, 0},
		{`{`, 1},
		{`{"a"}`, 4},
		{`{"a":1,}`, 7},
		{`[1,]`, 3},
		{`[1 2]`, 3},
		{`01`, 1},
		{`1.`, 2},
		{`+1`, 0},
		{`tru`, 3},
		{`nul1`, 3},
		{`"\x"`, 2},
		{`"\u12g4"`, 5},
		{"\"a\nb\"", 2},
		{`"abc`, 4},
		{`{} {}`, 3},
		{"\"a\xff\"", 2},
		{`{a:1}`, 1},
		{deep, rawjson.MaxDepth},
	}
	for _, tt := range tests {
		var d rawjson.Document
		err := d.Parse([]byte(tt.text))
		syntax, ok := errors.AsType[*rawjson.SyntaxError](err)
		if !ok {
			t.Errorf("Parse(%.40q) = %v, want a syntax error", tt.text, err)
		} else if syntax.Offset != tt.offset {
			t.Errorf("Parse(%.40q) = %v, want it at byte %d", tt.text, err, tt.offset)
		}
		if d.Root() != nil || d.Member("a") != nil {
			t.Errorf("Parse(%.40q) leaves a value", tt.text)
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	var d rawjson.Document
	text := []byte(`{"task_id":"t-1","status":"done","output":{"url":"https://x/y.png","sizes":[1,2,3]}}`)
	if err := d.Parse(text); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		_ = d.Parse(text)
		_ = d.Member("output").Member("url")
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// FuzzParse compares with encoding/json: the same texts are taken, and the same values found.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":[true,null,{"c":"d\u00e9"}],"a":2}`, `[]`, `"\ud800"`, `-0.1e+5`, ` 1 `, `{"":{"":[]}}`, "\xff", `[[[[`, `{"\u0061":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var d rawjson.Document
		err := d.Parse(text)
		if want := json.Valid(text) && utf8.Valid(text); want != (err == nil) {
			if want && strings.Contains(err.Error(), "deeper") {
				return
			}
			t.Fatalf("Parse: %v, encoding/json says valid: %v", err, want)
		}
		if err == nil {
			compare(t, d.Root())
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(text, &object) == nil && err == nil {
			for name, want := range object {
				if got := d.Member(name); utf8.ValidString(name) && !bytes.Equal(got, want) {
					t.Fatalf("member %q is %s, want %s", name, got, want)
				}
			}
		}
	})
}

func compare(t *testing.T, v rawjson.Value) {
	t.Helper()
	switch v.Kind() {
	case rawjson.Object:
		var want map[string]json.RawMessage
		if err := json.Unmarshal(v, &want); err != nil {
			t.Fatal(err)
		}
		for name, raw := range want {
			got := v.Member(name)
			if !bytes.Equal(got, raw) {
				t.Fatalf("member %q of %s is %s, want %s", name, v, got, raw)
			}
			compare(t, got)
		}
	case rawjson.Array:
		var want []json.RawMessage
		if err := json.Unmarshal(v, &want); err != nil {
			t.Fatal(err)
		}
		i := 0
		for e := range v.Elements() {
			if !bytes.Equal(e, want[i]) || !bytes.Equal(v.Index(i), e) || !bytes.Equal(v.Index(i-len(want)), e) {
				t.Fatalf("element %d of %s is %s, want %s", i, v, e, want[i])
			}
			compare(t, e)
			i++
		}
		if i != len(want) {
			t.Fatalf("%d elements in %s, want %d", i, v, len(want))
		}
	case rawjson.String:
		var want string
		if err := json.Unmarshal(v, &want); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, v.Text()); d != "" {
			t.Fatal(d)
		}
	default:
		if v.Kind() == rawjson.Null != (string(v) == "null") {
			t.Fatalf("kind of %s", v)
		}
	}
}
