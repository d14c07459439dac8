package bus

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
)

// A document is read while it is saved again and again, and each object is deleted before it has been read: on a busy system
// that takes longer than anything is waited for. Only what stays away is lost.
func TestADocumentThatIsReadSlowly(t *testing.T) {
	const patience = 5 * time.Second
	gone := fmt.Errorf("half of it: %w", ErrNotFound)
	for name, c := range map[string]struct {
		saves uint64        // how often it is saved while it is read
		takes time.Duration // to find that it is not there
		lost  bool          // also when it is not saved any more
	}{
		"slower than the patience": {saves: 3, takes: 2 * patience},
		"quicker":                  {saves: 1000, takes: patience / 100},
		"lost":                     {saves: 2, takes: patience / 100, lost: true},
		"lost, and slow":           {saves: 2, takes: 2 * patience, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				saved := uint64(1)
				stub := func() (*event.Run, uint64, error) { return &event.Run{ID: "r"}, saved, nil }
				whole := func(run *event.Run) (*event.Run, error) {
					<-time.After(c.takes)
					switch {
					case saved <= c.saves:
						saved++
						return nil, gone
					case c.lost:
						return nil, gone
					}
					return run, nil
				}
				doc, err := document(t.Context(), patience, stub, whole)
				switch {
				case c.lost && (fault.CodeOf(err) != fault.Internal || errors.Is(err, ErrNotFound)):
					t.Errorf("it is lost, and gives %+v, %v", doc, err)
				case !c.lost && (err != nil || doc.Revision != saved):
					t.Errorf("it is there as %d, and gives %+v, %v", saved, doc, err)
				}
			})
		})
	}
}

// However many objects are written and read at once, only so many parts of them are on their way.
func TestPartsInFlight(t *testing.T) {
	b := &Bus{o: Options{MaxObject: 1 << 20}, parts: make(chan struct{}, 1)}
	b.inline.Store(1 << 10)
	b.parts <- struct{}{}
	full, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := b.Objects("o").Put(full, "a", []byte("x"), 0); !errors.Is(err, enough) {
		t.Errorf("a write without a place: %v", err)
	}
	if _, err := b.Objects("o").part(full, "a", 1); !errors.Is(err, enough) {
		t.Errorf("a read without a place: %v", err)
	}
	<-b.parts
	arrived, err := b.carry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	arrived()
	if len(b.parts) != 0 {
		t.Error("a place was not given back")
	}
}
