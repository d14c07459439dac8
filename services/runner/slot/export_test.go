package slot

import (
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
)

// Age makes the turns of a group older.
func Age(t *testing.T, b *bus.Bus, group string, by time.Duration) {
	t.Helper()
	s := New(b)
	h, rev, err := s.load(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	for i := range h.Holders {
		h.Holders[i].Since = h.Holders[i].Since.Add(-by)
	}
	if err := s.save(t.Context(), group, h, rev); err != nil {
		t.Fatal(err)
	}
}
