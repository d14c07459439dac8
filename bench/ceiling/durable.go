package ceiling

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// Durable is the least that a durable listener can be: it publishes each body as it came, under a subject of its own, and
// answers when JetStream has acknowledged it. It finds no id, maps and checks nothing, and keeps no record of requests.
type Durable struct {
	plain   *Plain
	publish *Publish
	taken   atomic.Int64
}

// NewDurable makes one that Start starts.
func NewDurable(ctx context.Context) *Durable {
	return &Durable{plain: NewPlain(ctx), publish: NewPublish(ctx)}
}

// Start starts or finds the server, and listens on a free port of the loopback interface.
func (d *Durable) Start(args PublishArgs, address *Address) error {
	if err := d.publish.Start(args, nil); err != nil {
		return err
	}
	return d.plain.serve(d.take, address)
}

func (d *Durable) take(rc *fasthttp.RequestCtx) {
	subject := "callback.task-" + strconv.FormatInt(d.taken.Add(1), 10)
	stored, err := d.publish.js.PublishAsync(subject, rc.PostBody())
	if err != nil {
		rc.Error(err.Error(), fasthttp.StatusServiceUnavailable)
		return
	}
	select {
	case <-stored.Ok():
		rc.SetContentType("application/json")
		rc.SetBodyString(answer)
	case err := <-stored.Err():
		rc.Error(err.Error(), fasthttp.StatusServiceUnavailable)
	}
}

// Close ends the server, and disconnects.
func (d *Durable) Close() error { return errors.Join(d.plain.Close(), d.publish.Close()) }
