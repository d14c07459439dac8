package expr

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/switchbackhq/switchback/pkg/value"
)

func firstOf(_ *invocation, a []any) (any, error) { return Walk(a[0], Path{{Kind: Index}}), nil }

func lastOf(_ *invocation, a []any) (any, error) {
	return Walk(a[0], Path{{Kind: Index, Index: -1}}), nil
}

func take(_ *invocation, a []any) (any, error) {
	l := arg[[]any](a, 0)
	n := min(max(arg[int](a, 1), 0), len(l))
	return l[:n:n], nil
}

func reverse(c *invocation, a []any) (any, error) {
	l := slices.Clone(arg[[]any](a, 0))
	slices.Reverse(l)
	return l, c.grow(itemSize * len(l))
}

func concat(c *invocation, a []any) (any, error) {
	out := []any{}
	for i := range a {
		l := arg[[]any](a, i)
		if err := c.grow(itemSize * len(l)); err != nil {
			return nil, err
		}
		out = append(out, l...)
	}
	return out, nil
}

func flatten(c *invocation, a []any) (any, error) { return c.flatten([]any{}, arg[[]any](a, 0), 0) }

func (c *invocation) flatten(to, l []any, depth int) ([]any, error) {
	if depth > value.MaxDepth {
		return nil, errTooDeep
	}
	for _, v := range l {
		err := c.grow(itemSize)
		if inner, ok := v.([]any); ok && err == nil {
			to, err = c.flatten(to, inner, depth+1)
		} else {
			to = append(to, v)
		}
		if err != nil {
			return nil, err
		}
	}
	return to, nil
}

// uniq leaves out what equals an earlier item.
func uniq(c *invocation, a []any) (any, error) {
	out, seen := []any{}, map[string]bool{}
	for _, v := range arg[[]any](a, 0) {
		s, _, err := settle(v, c.grow, 0)
		if err != nil {
			return nil, err
		}
		id := string(identity(nil, s))
		if !seen[id] {
			seen[id] = true
			out = append(out, v)
		}
	}
	return out, nil
}

// identity writes v so that equal values are written alike, numbers by what they amount to.
func identity(b []byte, v any) []byte {
	switch v := v.(type) {
	case []any:
		b = append(b, '[')
		for _, item := range v {
			b = append(identity(b, item), ',')
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b = append(identity(append(strconv.AppendQuote(b, k), ':'), v[k]), ',')
		}
		return append(b, '}')
	case string:
		return strconv.AppendQuote(b, v)
	case int64, float64, json.Number:
		return append(b, value.Canonical(v)...)
	}
	return append(b, value.Text(v)...)
}

func sortList(c *invocation, a []any) (any, error) {
	order := any("asc")
	if len(a) > 1 {
		order = a[1]
	}
	return sortBy(c, []any{a[0], a[0], order})
}

// sortBy orders a list by keys; what has equal keys stays in order.
func sortBy(c *invocation, a []any) (any, error) {
	l, keys := arg[[]any](a, 0), arg[[]any](a, 1)
	descending := false
	if len(a) > 2 {
		switch a[2] {
		case "asc":
		case "desc":
			descending = true
		default:
			return nil, &mistake{`the order is neither "asc" nor "desc"`, ""}
		}
	}
	if err := c.grow(itemSize * len(l)); err != nil {
		return nil, err
	}
	places := make([]int, len(l))
	for i := range places {
		places[i] = i
	}
	var failed error
	slices.SortStableFunc(places, func(i, j int) int {
		if descending {
			i, j = j, i
		}
		order, err := c.order(keys[i], keys[j])
		if err != nil {
			failed = err
		}
		return order
	})
	if failed != nil {
		return nil, failed
	}
	out := make([]any, len(l))
	for i, place := range places {
		out[i] = l[place]
	}
	return out, nil
}

func (c *invocation) order(a, b any) (int, error) {
	order, err := c.compare(a, b)
	if err != nil {
		return 0, &mistake{"what is sorted by is neither all numbers nor all texts", ""}
	}
	return order, nil
}

func groupBy(c *invocation, a []any) (any, error) {
	out := map[string]any{}
	for i, k := range arg[[]any](a, 1) {
		k, _, err := settle(k, c.grow, 0)
		if err != nil {
			return nil, err
		}
		s := value.Text(k)
		group, _ := out[s].([]any)
		if err := c.grow(itemSize); err != nil {
			return nil, err
		}
		out[s] = append(group, arg[[]any](a, 0)[i])
	}
	return out, nil
}

func keys(c *invocation, a []any) (any, error) {
	m := arg[map[string]any](a, 0)
	out := make([]any, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k)
	}
	return out, c.grow(itemSize * len(m))
}

// values are in the order of their keys.
func values(c *invocation, a []any) (any, error) {
	m := arg[map[string]any](a, 0)
	out := make([]any, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out, c.grow(itemSize * len(m))
}

func toPairs(c *invocation, a []any) (any, error) {
	m := arg[map[string]any](a, 0)
	out := make([]any, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, []any{k, m[k]})
	}
	return out, c.grow(2 * itemSize * len(m))
}

func fromPairs(c *invocation, a []any) (any, error) {
	l := arg[[]any](a, 0)
	out := make(map[string]any, len(l))
	for _, v := range l {
		pair, ok := v.([]any)
		if !ok || len(pair) != 2 {
			return nil, &mistake{"fromPairs: an item is not a list of a key and a value", ""}
		}
		switch pair[0].(type) {
		case nil, []any, map[string]any:
			return nil, &mistake{"fromPairs: a key is " + KindOf(pair[0]), ""}
		}
		out[value.Text(plain(pair[0]))] = pair[1]
	}
	return out, c.grow(2 * itemSize * len(l))
}
