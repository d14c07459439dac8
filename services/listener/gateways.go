package listener

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/subject"
)

// gateways knows the public addresses of local ports, as the gateways tell them.
type gateways struct {
	mu   sync.RWMutex
	urls map[string]string // by port
}

func (g *gateways) url(port int) string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.urls[strconv.Itoa(port)]
}

// watchAgain is the pause after a watch that ended.
const watchAgain = 2 * time.Second

// watch follows the bucket until ctx ends.
func (g *gateways) watch(ctx context.Context, store Store, log *slog.Logger) {
	for ctx.Err() == nil {
		err := store.Bucket(subject.BucketGateways).Watch(ctx, "", g.take)
		if ctx.Err() != nil {
			return
		}
		log.Warn("the gateways' addresses are not known, and looked for again", slog.Any("error", err))
		select {
		case <-time.After(watchAgain):
		case <-ctx.Done():
		}
	}
}

func (g *gateways) take(e *bus.Entry) {
	if e == nil {
		return
	}
	var s event.GatewayStatus
	if !e.Deleted && json.Unmarshal(e.Value, &s) != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.PublicURL == "" {
		delete(g.urls, e.Key)
		return
	}
	if g.urls == nil {
		g.urls = map[string]string{}
	}
	g.urls[e.Key] = s.PublicURL
}
