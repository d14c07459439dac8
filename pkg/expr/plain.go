package expr

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/switchbackhq/switchback/pkg/value"
)

// plain brings a single value, as YAML readers and expr-lang give it, to one of the types of package value.
func plain(v any) any {
	switch v := v.(type) {
	case nil, bool, string, int64, float64, json.Number, []any, map[string]any:
		return v
	case int:
		return int64(v)
	case int32:
		return int64(v)
	case uint64:
		if v > math.MaxInt64 {
			return json.Number(strconv.FormatUint(v, 10))
		}
		return int64(v)
	case uint:
		return plain(uint64(v))
	case float32:
		return float64(v)
	case []byte:
		return string(v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case time.Duration:
		return v.String()
	case fmt.Stringer:
		return v.String()
	}
	return fmt.Sprint(v)
}

// settle brings the outcome of an expression to the types of package value, all through; changed tells whether it
// is another value then. grow is told of every part's size, so that lists of one large list do not unfold for ever.
func settle(v any, grow func(int) error, depth int) (settled any, changed bool, err error) {
	if depth > value.MaxDepth {
		return nil, false, errTooDeep
	}
	size := itemSize
	switch v := v.(type) {
	case []any:
		if err := grow(size); err != nil {
			return nil, false, err
		}
		return settleList(v, grow, depth)
	case map[string]any:
		if err := grow(size); err != nil {
			return nil, false, err
		}
		return settleMap(v, grow, depth)
	case string:
		return v, false, grow(size + len(v))
	case nil, bool, int64, json.Number:
		return v, false, grow(size)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, false, errNotFinite
		}
		return v, false, grow(size)
	}
	return plain(v), true, grow(size)
}

func settleList(l []any, grow func(int) error, depth int) (any, bool, error) {
	var out []any
	for i, item := range l {
		n, changed, err := settle(item, grow, depth+1)
		if err != nil {
			return nil, false, err
		}
		if changed && out == nil {
			out = slices.Clone(l)
		}
		if changed {
			out[i] = n
		}
	}
	if out == nil {
		return l, false, nil
	}
	return out, true, nil
}

func settleMap(m map[string]any, grow func(int) error, depth int) (any, bool, error) {
	var out map[string]any
	for k, item := range m {
		if err := grow(len(k)); err != nil {
			return nil, false, err
		}
		n, changed, err := settle(item, grow, depth+1)
		if err != nil {
			return nil, false, err
		}
		if changed && out == nil {
			out = maps.Clone(m)
		}
		if changed {
			out[k] = n
		}
	}
	if out == nil {
		return m, false, nil
	}
	return out, true, nil
}
