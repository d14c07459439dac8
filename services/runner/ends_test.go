package runner_test

import (
	"fmt"
	"testing"

	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// TestTheIDOfACallbackIsGivenFreeLast: should the runner die before, the callback finds the run by it when it comes again, and
// the other waits are ended then. Another run could have the id by then, were it free.
func TestTheIDOfACallbackIsGivenFreeLast(t *testing.T) {
	b := begin(t, `workflow: {id: any, job: {id: any, type: wait, wait_for: "${input.ids}", quorum: any}}`)
	ids, list := make([]string, 20), ""
	for i := range ids {
		ids[i] = fmt.Sprintf("order-%d", i)
		list += fmt.Sprintf("%q,", ids[i])
	}
	b.ask("any", "r", `{"ids":[`+list[:len(list)-1]+`]}`)
	for _, id := range ids {
		bustest.Eventually(t, "the wait for "+id+" stands", func() bool {
			_, err := b.bus.Bucket(subject.BucketWaits).Get(t.Context(), id)
			return err == nil
		})
	}
	b.callback(ids[0], event.Succeeded, `1`)
	var freed uint64
	for _, id := range ids {
		b.gone(id)
		m, err := b.bus.Last(t.Context(), subject.StreamWaits, subject.Wait(id))
		if err != nil {
			t.Fatal(err)
		}
		if id == ids[0] {
			freed = m.Seq
		} else if m.Seq > freed {
			t.Errorf("%s was ended (%d) after the id that the callback was for (%d)", id, m.Seq, freed)
		}
	}
}
