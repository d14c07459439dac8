package runner

import (
	"context"
	"log/slog"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// notify tells those who watch; nobody need be there.
func (r *Runner) notify(n *event.Notice) {
	on := subject.RunEvent(n.Run, n.Event)
	err := r.bus.NotifyJSON(on, n)
	if fault.CodeOf(err) == fault.TooLarge {
		var data []byte
		if data, err = n.Small().AppendJSON(nil); err == nil {
			err = r.bus.Notify(on, nil, data)
		}
	}
	if err != nil {
		r.log.Debug("could not notify", slog.String("run", n.Run), slog.String("event", n.Event), slog.Any("error", err))
	}
}

// reply gives the ended run to the one who asked for it; data is its document, or stub, where that is at hand.
func (r *Runner) reply(ctx context.Context, run *event.Run, data []byte) {
	if run.ReplyTo == "" {
		return
	}
	var err error
	if data == nil {
		data, err = r.sendable(ctx, run)
	}
	if err == nil {
		err = r.bus.Notify(run.ReplyTo, bus.Header{subject.HeaderRunID: run.ID}, data)
	}
	if err != nil {
		r.log.Warn("could not send the reply", slog.String("run", run.ID), slog.String("to", run.ReplyTo), slog.Any("error", err))
	}
}
