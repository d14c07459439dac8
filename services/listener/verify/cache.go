package verify

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// How long fetched keys are kept.
const (
	keepFresh   = time.Hour        // used without asking again
	keepStale   = 24 * time.Hour   // used still when they cannot be fetched again
	keepFailure = 30 * time.Second // not asked again after a failure
	keepRefresh = time.Minute      // not asked again because a signature did not match
	fetchTime   = 10 * time.Second
	maxCached   = 64
	maxFetches  = 4
)

// cache keeps what was parsed from fetched bytes, by URL. Its clock is the requests'.
type cache[T any] struct {
	fetch Fetcher
	parse func([]byte) (T, error)

	slots   chan struct{} // one for each fetch under way
	one     singleflight.Group
	mu      sync.Mutex
	entries map[string]*entry[T]
}

type entry[T any] struct {
	value   T
	held    bool // value is one
	fetched time.Time
	tried   time.Time
	err     error // of the last try
}

func newCache[T any](fetch Fetcher, parse func([]byte) (T, error)) *cache[T] {
	return &cache[T]{fetch: fetch, parse: parse, slots: make(chan struct{}, maxFetches), entries: map[string]*entry[T]{}}
}

// get gives what is at url. With renew it asks again, within reason, for what may have changed since.
func (c *cache[T]) get(ctx context.Context, url string, now time.Time, renew bool) (T, error) {
	if value, known, err := c.look(url, now, renew); known {
		return value, err
	}
	// One fetch at a time for one URL, which does not die with the request that happened to be first.
	_, _, _ = c.one.Do(url, func() (any, error) {
		if _, known, _ := c.look(url, now, renew); !known {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
			defer cancel()
			select {
			case c.slots <- struct{}{}:
				defer func() { <-c.slots }()
				body, err := c.fetch.Fetch(ctx, url)
				c.store(url, now, body, err)
			case <-ctx.Done():
				c.store(url, now, nil, context.Cause(ctx))
			}
		}
		return nil, nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[url]; e != nil {
		return e.result(now)
	}
	var none T
	return none, errors.New("too many addresses are asked for at once")
}

// look gives what is known without asking: a value, or the error of asking before.
func (c *cache[T]) look(url string, now time.Time, renew bool) (value T, known bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[url]
	if e == nil {
		return value, false, nil
	}
	switch since := now.Sub(e.tried); {
	case e.err != nil && since >= keepFailure,
		e.err == nil && renew && since >= keepRefresh,
		e.err == nil && now.Sub(e.fetched) >= keepFresh:
		return value, false, nil
	}
	value, err = e.result(now)
	return value, true, err
}

func (e *entry[T]) result(now time.Time) (T, error) {
	if e.held && (e.err == nil || now.Sub(e.fetched) < keepStale) {
		return e.value, nil
	}
	var none T
	return none, e.err
}

func (c *cache[T]) store(url string, now time.Time, body []byte, err error) {
	var value T
	if err == nil {
		value, err = c.parse(body)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[url]
	if e == nil {
		c.makeRoom()
		e = &entry[T]{}
		c.entries[url] = e
	}
	e.tried, e.err = now, err
	if err == nil {
		e.value, e.held, e.fetched = value, true, now
	}
}

// makeRoom forgets one entry when there are too many: one that failed if there is one, else the oldest, so that made-up
// URLs do not drive out those that work.
func (c *cache[T]) makeRoom() {
	if len(c.entries) < maxCached {
		return
	}
	victim := ""
	for url, e := range c.entries {
		v := c.entries[victim]
		if v == nil || v.held && !e.held || v.held == e.held && e.tried.Before(v.tried) {
			victim = url
		}
	}
	delete(c.entries, victim)
}
