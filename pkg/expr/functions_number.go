package expr

import (
	"encoding/json"
	"math"
	"math/big"
	"slices"

	"github.com/switchbackhq/switchback/pkg/value"
)

func abs(_ *invocation, a []any) (any, error) {
	n, _, err := toNum(a[0])
	switch {
	case err != nil:
		return nil, err
	case n.is == isFloat && n.f >= 0 || n.is == isInteger && n.i >= 0:
		return a[0], nil
	case n.is == isFloat:
		return -n.f, nil
	}
	return integer(new(big.Int).Abs(n.bigInt()))
}

// rounding makes whole numbers; those that are whole stay as they are.
func rounding(f func(float64) float64) operator {
	return func(_ *invocation, a []any) (any, error) {
		if n, ok := whole(a[0]); ok {
			return n, nil
		}
		n, _, err := toNum(a[0])
		if err != nil {
			return nil, err
		}
		return truncate(f(n.float()))
	}
}

// truncate drops the fraction.
func truncate(f float64) (any, error) {
	f = math.Trunc(f)
	if math.Abs(f) < 1<<63 {
		return int64(f), nil
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return float(f)
	}
	b, _ := big.NewFloat(f).Int(nil)
	return integer(b)
}

func toInt(c *invocation, a []any) (any, error) {
	v := a[0]
	if s, ok := v.(string); ok {
		n, err := parseNumber(s)
		if err != nil {
			return nil, &mistake{c.arg(0) + " is " + err.Error(), ""}
		}
		v = n
	}
	if n, ok := whole(v); ok {
		return n, nil
	}
	n, ok, err := toNum(v)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, c.fail(0, a[0], "a number or a text that is one")
	}
	return truncate(n.float())
}

func toFloat(c *invocation, a []any) (any, error) {
	v := a[0]
	if s, ok := v.(string); ok {
		n, err := parseNumber(s)
		if err != nil {
			return nil, &mistake{c.arg(0) + " is " + err.Error(), ""}
		}
		v = n
	}
	if j, ok := v.(json.Number); ok {
		f, err := j.Float64()
		if err != nil {
			return nil, &mistake{"a number is too large to calculate with", ""}
		}
		return f, nil
	}
	n, ok, err := toNum(v)
	if !ok || err != nil {
		return nil, c.fail(0, a[0], "a number or a text that is one")
	}
	return float(n.float())
}

// gather lays out numbers and lists of numbers in one list.
func (c *invocation) gather(to []any, a []any, depth int) ([]any, error) {
	for _, v := range a {
		if err := c.grow(itemSize); err != nil {
			return nil, err
		}
		l, isList := v.([]any)
		switch {
		case isList && depth < 100:
			var err error
			if to, err = c.gather(to, l, depth+1); err != nil {
				return nil, err
			}
		case value.IsNumber(v):
			to = append(to, v)
		default:
			return nil, &mistake{c.name + "() needs numbers, but is given " + KindOf(v), ""}
		}
	}
	return to, nil
}

// extreme gives the greatest or least number, null where there is none.
func extreme(better func(int) bool) operator {
	return func(c *invocation, a []any) (any, error) {
		all, err := c.gather(nil, a, 0)
		if err != nil || len(all) == 0 {
			return nil, err
		}
		best := all[0]
		for _, v := range all[1:] {
			if order, _ := value.Compare(v, best); better(order) {
				best = v
			}
		}
		return best, nil
	}
}

func sum(c *invocation, l []any) (any, error) {
	total := any(int64(0))
	for _, v := range l {
		if !value.IsNumber(v) && !isTime(v) {
			return nil, &mistake{"sum() needs numbers, but an item is " + KindOf(v), ""}
		}
		if isTime(v) && total == any(int64(0)) {
			total = v
			continue
		}
		var err error
		if total, err = operatorAdd(c, []any{total, v}); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func mean(c *invocation, a []any) (any, error) {
	all, err := c.gather(nil, a, 0)
	if err != nil || len(all) == 0 {
		return 0.0, err
	}
	total, err := sum(c, all)
	if err != nil {
		return nil, err
	}
	return operatorDivide(c, []any{total, int64(len(all))})
}

func median(c *invocation, a []any) (any, error) {
	all, err := c.gather(nil, a, 0)
	if err != nil || len(all) == 0 {
		return 0.0, err
	}
	slices.SortStableFunc(all, func(a, b any) int {
		order, _ := value.Compare(a, b)
		return order
	})
	middle := len(all) / 2
	if len(all)%2 == 1 {
		return all[middle], nil
	}
	return mean(c, all[middle-1:middle+1])
}
