package runner_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/switchbackhq/switchback/pkg/bus/bustest"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
	"github.com/switchbackhq/switchback/services/runner"
)

const manyItems = listenerAndService + `
workflow:
  id: many
  job: {id: each, type: for-each, input: "${input.list}", do: {component: slow, input: {n: "${item}", at: "${index}"}}}
`

func numbers(n int) string {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	data, _ := json.Marshal(map[string]any{"list": list})
	return string(data)
}

// inOrder checks that each item has its own callback's result, and that each wait was resumed once.
func (b *bench) inOrder(run *event.Run, n int) {
	b.t.Helper()
	var output []struct{ N int }
	if err := json.Unmarshal(run.Output, &output); err != nil || len(output) != n {
		b.t.Fatalf("the output has %d items of %d: %v", len(output), n, err)
	}
	by := map[uint64]bool{}
	for i, item := range output {
		a := run.Jobs[fmt.Sprintf("each.i%d", i)].Attempts
		if item.N != i || len(a) != 1 || a[0].Wait.ResumedBy == nil || by[a[0].Wait.ResumedBy.Seq] {
			b.t.Errorf("item %d: %+v, %d attempts", i, item, len(a))
		}
		by[a[0].Wait.ResumedBy.Seq] = true
	}
}

// TestCallbacksThatLieInTheStream when a runner starts, each twice: every item is resumed once, by its first.
func TestCallbacksThatLieInTheStream(t *testing.T) {
	const items = 40
	b := beginOn(t, connect(t, bustest.Start(t)), manyItems, runner.Config{})
	b.say(func(call) (int, string) { return http.StatusAccepted, `{}` })
	b.ask("many", "m", numbers(items))
	stands := func() bool {
		for i := range items {
			if _, err := b.bus.Bucket(subject.BucketWaits).Get(t.Context(), fmt.Sprintf("m.each.i%d", i)); err != nil {
				return false
			}
		}
		left, err := b.bus.Backlog(t.Context(), subject.StreamRuns, subject.ConsumerRunner)
		return err == nil && left.Pending == 0 && left.Unacknowledged == 0
	}
	bustest.Eventually(t, "all waits stand", stands)
	b.stop()
	for i := range items {
		b.callback(fmt.Sprintf("m.each.i%d", i), event.Succeeded, fmt.Sprintf(`{"n":%d}`, i))
		b.callback(fmt.Sprintf("m.each.i%d", i), event.Succeeded, `{"n":-1}`) // once more, with something else
	}
	b.start(manyItems)
	b.inOrder(b.status("m", event.StatusCompleted), items)
	bustest.Eventually(t, "all callbacks are acknowledged, and no wait is left", func() bool {
		left, err := b.bus.Backlog(t.Context(), subject.StreamWaits, subject.ConsumerRunner)
		if err != nil || left.Pending > 0 || left.Unacknowledged > 0 {
			return false
		}
		_, err = b.bus.Bucket(subject.BucketWaits).Get(t.Context(), "m.each.i0")
		return err != nil
	})
}

// TestTwoRunnersShareTheItemsOfOneRun, and neither loses what the other has saved.
func TestTwoRunnersShareTheItemsOfOneRun(t *testing.T) {
	const items = 60
	server := bustest.Start(t)
	b := beginOn(t, connect(t, server), manyItems, runner.Config{MaxConcurrentRuns: 8})
	other := &bench{t: t, bus: connect(t, server), url: b.url, config: b.config}
	other.start(manyItems)
	b.say(func(call) (int, string) { return http.StatusAccepted, `{}` })
	b.ask("many", "m", numbers(items))
	b.await("m", "asleep", func(r *event.Run) bool { return r.Status == event.StatusWaiting && len(r.Jobs) == items+1 })
	var sending sync.WaitGroup
	for i := range items {
		sending.Go(func() {
			id := fmt.Sprintf("m.each.i%d", i)
			if _, err := b.bus.PublishCallback(t.Context(), &event.Callback{ID: id, Outcome: event.Succeeded, Result: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))}); err != nil {
				t.Error(err)
			}
		})
	}
	sending.Wait()
	b.inOrder(b.status("m", event.StatusCompleted), items)
}
