package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/runner/address"
)

// definition is a document that runs are executed by.
type definition struct {
	hash string
	doc  *compose.Document
}

// known says which workflows there are, or the one that was probably meant, for whoever asked for another.
func (d *definition) known(asked string) string {
	ids := make([]string, 0, len(d.doc.Workflows))
	for _, w := range d.doc.Workflows {
		ids = append(ids, w.ID)
	}
	switch near := compose.Nearest(asked, ids); {
	case len(ids) == 0:
		return ": the compose file has none"
	case near != "":
		return ": did you mean " + near + "?"
	case len(ids) > 12:
		return fmt.Sprintf(": the compose file has %d others", len(ids))
	default:
		return ": there are " + strings.Join(ids, ", ")
	}
}

// definitions finds the document that a run began with, whatever the file says now.
type definitions struct {
	bucket *bus.Bucket
	getenv func(string) (string, bool)
	now    atomic.Pointer[definition]

	mu    sync.Mutex
	older map[string]*definition
}

func newDefinitions(bucket *bus.Bucket, doc *compose.Document, getenv func(string) (string, bool)) *definitions {
	d := &definitions{bucket: bucket, getenv: getenv, older: map[string]*definition{}}
	d.now.Store(&definition{hash: doc.Hash, doc: doc})
	return d
}

func (d *definitions) current() *definition { return d.now.Load() }

// replace makes another document the current one, once it is kept.
func (d *definitions) replace(ctx context.Context, doc *compose.Document) error {
	if err := d.publish(ctx, doc); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.now.Swap(&definition{hash: doc.Hash, doc: doc})
	d.older[was.hash] = was
	return nil
}

// publish keeps a document for the runs that begin with it.
func (d *definitions) publish(ctx context.Context, doc *compose.Document) error {
	_, err := d.bucket.Create(ctx, doc.Hash, doc.Source, 0)
	if errors.Is(err, bus.ErrConflict) {
		return nil // the same content, by its hash
	}
	return err
}

// get gives the document with the hash.
func (d *definitions) get(ctx context.Context, hash string) (*definition, error) {
	if now := d.current(); hash == now.hash {
		return now, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if def := d.older[hash]; def != nil {
		return def, nil
	}
	e, err := d.bucket.Get(ctx, hash)
	if err != nil {
		err = fmt.Errorf("find the definition %s that the run began with: %w", hash, err)
		if errors.Is(err, bus.ErrNotFound) {
			return nil, &poison{err: err}
		}
		return nil, err
	}
	doc, err := compose.Parse(e.Value, d.getenv)
	if err != nil {
		return nil, &poison{err: fmt.Errorf("read the definition %s that the run began with: %w", hash, err)}
	}
	def := &definition{hash: hash, doc: doc}
	d.older[hash] = def
	return def, nil
}

func (r *Runner) resolver(def *definition) *address.Resolver { return r.book.For(def.doc) }
