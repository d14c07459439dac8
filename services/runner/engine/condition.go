package engine

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

// truthy is what an expression must give for a condition to hold.
func truthy(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != "" && v != "false"
	default:
		n, ok := value.Rational(v)
		return !ok || n.Sign() != 0
	}
}

// holds tests a condition. input is what is tested where the condition names nothing else.
func holds(c *compose.Condition, scope expr.Scope, input any) (bool, error) {
	switch {
	case c == nil:
		return true, nil
	case c.Expr != nil:
		v, err := c.Expr.Eval(scope)
		return truthy(v), err
	case c.Not != nil:
		ok, err := holds(c.Not, scope, input)
		return !ok, err
	case len(c.All) > 0:
		for _, part := range c.All {
			if ok, err := holds(part, scope, input); err != nil || !ok {
				return false, err
			}
		}
		return true, nil
	case len(c.Any) > 0:
		for _, part := range c.Any {
			if ok, err := holds(part, scope, input); err != nil || ok {
				return ok, err
			}
		}
		return false, nil
	}
	if c.Input != nil {
		var err error
		if input, err = c.Input.Eval(scope); err != nil {
			return false, err
		}
	}
	var other any
	if c.Value != nil {
		var err error
		if other, err = c.Value.Eval(scope); err != nil {
			return false, err
		}
	}
	return compare(c.Operator, input, other)
}

func compare(operator string, a, b any) (bool, error) {
	switch operator {
	case "", "eq":
		return equal(a, b), nil
	case "neq":
		return !equal(a, b), nil
	case "gt", "gte", "lt", "lte":
		order, ok := ordered(a, b)
		if !ok {
			return false, nil // as with null: nothing is more or less than it
		}
		return map[string]bool{"gt": order > 0, "gte": order >= 0, "lt": order < 0, "lte": order <= 0}[operator], nil
	case "in":
		return contains(b, a), nil
	case "not-in":
		return !contains(b, a), nil
	case "match":
		re, err := regexp.Compile(value.Text(b))
		if err != nil {
			return false, fmt.Errorf("match: %w", err)
		}
		return a != nil && re.MatchString(value.Text(a)), nil
	case "starts-with":
		return a != nil && strings.HasPrefix(value.Text(a), value.Text(b)), nil
	case "ends-with":
		return a != nil && strings.HasSuffix(value.Text(a), value.Text(b)), nil
	default:
		return false, fmt.Errorf("there is no operator %q", operator)
	}
}

// equal compares as text, so that 1 is "1" and 1.0 is 1; null equals only itself.
func equal(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	if value.Text(a) == value.Text(b) {
		return true
	}
	x, ok := value.Rational(a)
	y, ok2 := value.Rational(b)
	return ok && ok2 && x.Cmp(y) == 0
}

// ordered compares numbers by their value and other text by its bytes.
func ordered(a, b any) (int, bool) {
	if a == nil || b == nil {
		return 0, false
	}
	x, ok := value.Rational(a)
	y, ok2 := value.Rational(b)
	if ok && ok2 {
		return x.Cmp(y), true
	}
	return strings.Compare(value.Text(a), value.Text(b)), true
}

// contains tells whether v is one of a list, a key of a map, or a part of a text.
func contains(in, v any) bool {
	switch in := in.(type) {
	case nil:
		return false
	case []any:
		for _, item := range in {
			if equal(item, v) {
				return true
			}
		}
		return false
	case map[string]any:
		_, ok := in[value.Text(v)]
		return ok
	default:
		return v != nil && strings.Contains(value.Text(in), value.Text(v))
	}
}
