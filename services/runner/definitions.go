package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/mod/semver"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/telemetry"
	"github.com/switchbackhq/switchback/services/runner/address"
)

// definition is a document that runs are executed by.
type definition struct {
	hash  string
	doc   *compose.Document
	newer error // only newer runners can go by it
}

// errNewer is of what a newer runner has begun: one takes the message when it comes again.
var errNewer = errors.New("a newer runner has begun it")

func isNewer(err error) bool { return errors.Is(err, errNewer) }

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
	log    *slog.Logger
	now    atomic.Pointer[definition]
	older  *lru.Cache[string, *definition]
}

// keptDefinitions bounds the documents that are kept beside the current one. Others are read again when a run needs them.
const keptDefinitions = 64

func newDefinitions(bucket *bus.Bucket, doc *compose.Document, getenv func(string) (string, bool), log *slog.Logger) *definitions {
	d := &definitions{bucket: bucket, getenv: getenv, log: log}
	d.older, _ = lru.New[string, *definition](keptDefinitions) // fails only for a size below 1
	d.now.Store(&definition{hash: doc.Hash, doc: doc})
	return d
}

func (d *definitions) current() *definition { return d.now.Load() }

// replace makes another document the current one, once it is kept.
func (d *definitions) replace(ctx context.Context, doc *compose.Document) error {
	if err := d.publish(ctx, doc); err != nil {
		return err
	}
	was := d.now.Swap(&definition{hash: doc.Hash, doc: doc})
	d.older.Add(was.hash, was)
	return nil
}

// publish keeps a document for the runs that begin with it.
func (d *definitions) publish(ctx context.Context, doc *compose.Document) error {
	_, err := d.bucket.Create(ctx, doc.Hash, slices.Concat([]byte(storedBy+telemetry.Built().Version+"\n"), doc.Source), 0)
	if errors.Is(err, bus.ErrConflict) {
		return nil // the same content, by its hash
	}
	return err
}

// storedBy begins the comment at the head of a stored definition that names the version which took its file.
const storedBy = "# stored by switchback "

// fromNewer tells whether a definition was stored by a newer version than this one. A version that nobody knows is older than all.
func fromNewer(source []byte) bool {
	line, _, _ := bytes.Cut(source, []byte("\n"))
	by, ok := strings.CutPrefix(string(line), storedBy)
	v := func(s string) string { return "v" + strings.TrimPrefix(strings.TrimSpace(s), "v") }
	return ok && semver.Compare(v(by), v(telemetry.Built().Version)) > 0
}

// read makes a document of what is stored. Whatever has stored it took the file, so nothing in it is judged again. What is not
// understood is for a newer runner where one has stored it; else it fails the jobs that come to it, and no others.
func (d *definitions) read(hash string, source []byte) (*definition, error) {
	doc, err := compose.Stored(source, d.getenv)
	switch {
	case err == nil && len(doc.Unread) == 0:
		return &definition{hash: hash, doc: doc}, nil
	case fromNewer(source):
		return &definition{hash: hash, newer: fault.Wrap(errNewer, fault.Unavailable, "this runner cannot read all of the definition "+hash, "bring this runner up to date")}, nil
	case err != nil:
		return nil, &poison{err: fmt.Errorf("read the definition %s that the run began with: %w", hash, err)}
	}
	for _, p := range doc.Unread {
		d.log.Warn("a stored definition is not understood here: jobs that need it fail",
			slog.String("definition", hash), slog.String("at", p.Path), slog.String("problem", p.Message))
	}
	return &definition{hash: hash, doc: doc}, nil
}

// get gives the document with the hash.
func (d *definitions) get(ctx context.Context, hash string) (*definition, error) {
	if now := d.current(); hash == now.hash {
		return now, nil
	}
	if def, ok := d.older.Get(hash); ok {
		return def, def.newer
	}
	e, err := d.bucket.Get(ctx, hash)
	if err != nil {
		err = fmt.Errorf("find the definition %s that the run began with: %w", hash, err)
		if errors.Is(err, bus.ErrNotFound) {
			return nil, &poison{err: err}
		}
		return nil, err
	}
	def, err := d.read(hash, e.Value)
	if err != nil {
		return nil, err
	}
	d.older.Add(hash, def)
	return def, def.newer
}

func (r *Runner) resolver(def *definition) *address.Resolver { return r.book.For(def.doc) }
