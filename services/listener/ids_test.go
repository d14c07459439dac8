package listener_test

import (
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/services/listener"
)

func TestGoodTrace(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for trace, want := range map[string]bool{
		good:                               true,
		"cc" + good[2:] + "-more":          true,
		good + "-more":                     false,
		"ff" + good[2:]:                    false,
		strings.ToUpper(good):              false,
		good[:54]:                          false,
		"":                                 false,
		strings.Replace(good, "-", "_", 1): false,
		"00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01":                 false,
		"00-0af7651916cd43dd8448eb211c80319c-" + strings.Repeat("0", 16) + "-01": false,
		good[:53] + "0g": false,
	} {
		if got := listener.GoodTrace([]byte(trace)); got != want {
			t.Errorf("%q: %v", trace, got)
		}
	}
}
