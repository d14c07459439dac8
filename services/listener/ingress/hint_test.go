package ingress_test

import (
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
)

func TestWhatIsThereInsteadOfAnIdentifier(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		contentType, body, identify, hint string
	}{
		{jsonType, `{"type":"a","challenge":"b"}`, "${body.event.id}", "the body has challenge, type"},
		{jsonType, `{}`, "${body.id}", "the body has no fields"},
		{jsonType, `[1]`, "${body.id}", "the body is a list: see bulk and item"},
		{jsonType, `7`, "${body.id}", "the body has no fields"},
		{jsonType, ``, "${body.id}", "the body is empty"},
		{jsonType, `{"i":1}`, "${query.id}", ""},
		{jsonType, `{"i":1}`, "${header.X-Id | ${body.id}}", "the body has i"},
		{jsonType, `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1}`, "${body.id}", "the body has a, b, c, d, e, f, g, h and 2 more"},
		{jsonType, `{"` + strings.Repeat("é", 30) + `":1}`, "${body.id}", "the body has " + strings.Repeat("é", 20) + "…"},
		{jsonType, `{"a":"` + strings.Repeat("x", 70_000) + `"}`, "${body.id}", ""},
		{form, `a=1&b=2`, "${body.id}", "the body has a, b"},
		{form, `{"id":1}`, "${body.id}", "the body looks like JSON, but is declared a form: send Content-Type: application/json"},
		{"text/plain", `{"id":1}`, "${body.id}", "the body looks like JSON, but is declared as something else: send Content-Type: application/json"},
		{"application/xml", `<id>1</id>`, "${body.id}", "the body is read as text, which has no fields: is its Content-Type right?"},
	} {
		it := one(t, compose.Callback{IdentifyBy: tmpl(t, tt.identify)}, request(tt.contentType, tt.body))
		if got := fault.HintOf(it.Err); it.Err == nil || got != tt.hint {
			t.Errorf("%s of %.60s: %v, hint %q, want %q", tt.identify, tt.body, it.Err, got, tt.hint)
		}
	}
	items, err := callback(bulky(t)).Callbacks(request(jsonType, `{"items":[{"key":1},7]}`), nil)
	if err != nil || len(items) != 2 {
		t.Fatal(items, err)
	}
	for i, want := range []string{"the item has key", "the item has no fields"} {
		if got := fault.HintOf(items[i].Err); got != want {
			t.Errorf("item %d: %q, want %q", i, got, want)
		}
	}
}
