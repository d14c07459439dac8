package command

import (
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/fault"
)

func TestRunInput(t *testing.T) {
	tests := map[string]struct {
		whole string
		pairs []string
		want  string
		err   string
	}{
		"nothing":            {"", nil, "", ""},
		"as it stands":       {` {"n": 12345678901234567890.10} `, nil, `{"n": 12345678901234567890.10}`, ""},
		"standard input":     {"-", nil, `{"from":"stdin"}`, ""},
		"typed":              {"", []string{"n=3", "t=true", "z=null", "l=[1,2]", "x=1.10"}, `{"l":[1,2],"n":3,"t":true,"x":1.10,"z":null}`, ""},
		"text":               {"", []string{"a=a lighthouse, at dusk", "zip=01234", "q=\"3\"", "e="}, `{"a":"a lighthouse, at dusk","e":"","q":"3","zip":"01234"}`, ""},
		"equals in value":    {"", []string{"q=a=b"}, `{"q":"a=b"}`, ""},
		"dots":               {"", []string{"size.width=640", "size.height=480"}, `{"size":{"height":480,"width":640}}`, ""},
		"on top":             {`{"a":1,"o":{"b":2}}`, []string{"a=9", "o.c=3"}, `{"a":9,"o":{"b":2,"c":3}}`, ""},
		"dot into no object": {`{"a":1}`, []string{"a.b=2"}, "", "a has a value already"},
		"no equals":          {"", []string{"prompt"}, "", "-i prompt is not name=value"},
		"no name":            {"", []string{"=3"}, "", "is not name=value"},
		"empty part":         {"", []string{"a..b=3"}, "", "is not name=value"},
		"list":               {"[1]", nil, "", "--input is not a JSON object"},
		"no JSON":            {"{", nil, "", "that is not JSON"},
		"no file":            {"@/nowhere", nil, "", "cannot read the file after @"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := runInput(tt.whole, tt.pairs, strings.NewReader(`{"from":"stdin"}`))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || fault.CodeOf(err) != fault.Usage {
					t.Fatalf("got %s, %v; want a usage error with %q", got, err, tt.err)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"plain-1.2": "plain-1.2", "": "''", "it's": `'it'\''s'`, "$x": "'$x'"} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}
