package fate

import (
	"context"

	"github.com/switchbackhq/switchback/pkg/event"
)

// Fill tells the fates of the callbacks of a recorded request, in its items. The errors are those of Tell.
func (t *Teller) Fill(ctx context.Context, r *event.Received) error {
	for i := range r.Items {
		item := &r.Items[i]
		if item.ID == "" || item.Error != "" {
			continue // not a callback, or not one that was stored
		}
		told := Told{Fate: Duplicate}
		if item.Seq != 0 {
			var err error
			if told, err = t.Tell(ctx, Callback{ID: item.ID, Seq: item.Seq, Outcome: item.Outcome, At: r.At}); err != nil {
				return err
			}
		}
		if item.Duplicate {
			told.Fate = Duplicate // the same delivery as one before, which has that fate
		}
		item.Fate, item.Run, item.Job = string(told.Fate), told.Run, told.Job
	}
	return nil
}
