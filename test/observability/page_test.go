package observability_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// row is a line of the page's table of metrics.
var row = regexp.MustCompile("(?m)^\\| `(switchback_\\w+)` \\| ([^|]*)\\|")

// The page names every metric with its labels, and none that is not there.
func TestPageNamesEveryMetric(t *testing.T) {
	page, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string][]string{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		names := strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(names)
		listed[m[1]] = names
	}
	have := scrape(t, services(t))
	exported := map[string][]string{}
	for name, e := range have {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(name, "switchback_") && have[base] == have[name] {
			exported[name] = slices.Sorted(maps.Keys(e.labels))
		}
	}
	if d := cmp.Diff(listed, exported, cmp.Transformer("none", func(s []string) string { return strings.Join(s, " ") })); d != "" {
		t.Errorf("metrics and their labels (-in the table, +exported):\n%s", d)
	}
}
