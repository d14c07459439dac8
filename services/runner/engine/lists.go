package engine

import (
	"encoding/json"
	"sync"

	"github.com/switchbackhq/switchback/pkg/value"
)

// Lists are the lists of for-each jobs, read once for all of their items: an item's template asks for one value of thousands.
// It is a memory only, and changes nothing that is decided. The zero value has none; nil remembers nothing.
type Lists struct {
	mu   sync.Mutex
	read map[*byte]*list // by where the JSON lies, which nobody changes
}

// keptLists is how many are kept: those of the jobs that go side by side.
const keptLists = 8

type list struct {
	once  sync.Once
	items []any
	err   error
}

// of gives the items of a list; none where it is no list. They are shared: nobody changes them.
func (l *Lists) of(raw json.RawMessage) ([]any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if l == nil {
		one := new(list)
		one.decode(raw)
		return one.items, one.err
	}
	l.mu.Lock()
	one := l.read[&raw[0]]
	if one == nil {
		if l.read == nil || len(l.read) >= keptLists {
			l.read = map[*byte]*list{}
		}
		one = new(list)
		l.read[&raw[0]] = one
	}
	l.mu.Unlock()
	one.once.Do(func() { one.decode(raw) })
	return one.items, one.err
}

func (l *list) decode(raw json.RawMessage) {
	var v any
	if v, l.err = value.Decode(raw); l.err == nil {
		l.items, _ = v.([]any)
	}
}
