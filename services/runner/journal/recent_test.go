package journal

import (
	"strconv"
	"testing"

	"github.com/switchbackhq/switchback/pkg/event"
)

// TestWhatIsRememberedIsBounded: by the number of documents and by their size, whatever is put there and how often.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	for _, c := range []struct {
		name              string
		size, put, again  int
		atLeast, atMostOf int
	}{
		{"many small ones", 100, 3 * recentRuns, 1, recentRuns, recentRuns},
		{"large ones", recentSize, 500, 1, recentBytes/recentSize - 1, recentBytes / recentSize},
		{"one saved again and again", recentSize, 1, 500, 1, 1},
		{"one larger than all", recentBytes + 1, 1, 1, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecent()
			for i := range c.put {
				for range c.again {
					r.put(strconv.Itoa(i), remembered{run: new(event.Run), size: c.size})
				}
			}
			if held := r.runs.Len(); held < c.atLeast || held > c.atMostOf || r.bytes != held*c.size {
				t.Errorf("%d documents are held, with %d bytes", held, r.bytes)
			}
			_, first := r.get("0")
			_, last := r.get(strconv.Itoa(c.put - 1))
			if last != (c.atLeast > 0) || first != (c.put <= c.atLeast) {
				t.Errorf("the first is held: %v, the last: %v", first, last)
			}
			for i := range c.put {
				r.forget(strconv.Itoa(i))
			}
			if r.runs.Len() != 0 || r.bytes != 0 {
				t.Errorf("of what is forgotten %d documents and %d bytes are left", r.runs.Len(), r.bytes)
			}
		})
	}
}
