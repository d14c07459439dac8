package runner

import (
	"context"
	"time"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
)

// orphans are the callbacks that nobody waited for when they came. Many of them are only early: an outside service calls back
// before the wait is made. So they are counted after a grace, for what they are by then.
type orphans struct {
	grace time.Duration
	after func(time.Duration) <-chan time.Time
	find  func(context.Context, *event.Callback) (fate.Fate, error) // "" where whoever has taken it counts it
	count func(*event.Callback, fate.Fate)
	queue chan orphan
}

type orphan struct {
	cb  *event.Callback // without its result, which may be large
	due time.Time
}

// maxOrphans bounds those that are remembered; beyond it they are counted at once.
const maxOrphans = 4096

func newOrphans(grace time.Duration) *orphans {
	return &orphans{grace: grace, after: time.After, queue: make(chan orphan, maxOrphans)}
}

// add takes note of one.
func (o *orphans) add(cb *event.Callback) {
	kept := *cb
	kept.Result = nil
	select {
	case o.queue <- orphan{&kept, time.Now().Add(o.grace)}:
	default:
		o.count(cb, fate.Orphan)
	}
}

// run counts them until ctx ends. All have the same grace, so the first that came is the first that is due.
func (o *orphans) run(ctx context.Context) {
	for {
		var next orphan
		select {
		case next = <-o.queue:
		case <-ctx.Done():
			return
		}
		select {
		case <-o.after(time.Until(next.due)):
		case <-ctx.Done():
			return
		}
		became, err := o.find(ctx, next.cb)
		if err != nil {
			became = fate.Orphan // nothing better is known of it
		}
		o.count(next.cb, became)
	}
}
