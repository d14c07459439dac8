package ingress_test

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchbackhq/switchback/pkg/value"
)

// FuzzQuery compares with net/url: what it reads as a query is read the same way here, and no query makes trouble.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{"a=1&b=2", "a=1&a=2&a=3", "a=%zz", "%00=+", "&&=&a", "a;b=1", "=x"} {
		f.Add(q)
	}
	whole := tmpl(f, "${query}")
	f.Fuzz(func(t *testing.T, query string) {
		r := request("", "")
		r.Query = query
		v, err := whole.Eval(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := value.Encode(v); err != nil {
			t.Fatal(err)
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		want := map[string]any{}
		for name, list := range values {
			if len(list) == 1 {
				want[name] = list[0]
				continue
			}
			all := make([]any, len(list))
			for i, s := range list {
				all[i] = s
			}
			want[name] = all
		}
		if d := cmp.Diff(any(want), v); d != "" {
			t.Fatalf("%q: %s", query, d)
		}
	})
}
