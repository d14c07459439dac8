package expr

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/vm/runtime"
)

// maxDigits bounds integers in arithmetic.
const maxDigits = 1000

// number is a number in arithmetic: an integer of any size, or a float64.
type number struct {
	i   int64
	big *big.Int // set where i cannot hold it
	f   float64
	is  kind
}

type kind uint8

const (
	isInteger kind = iota
	isBig
	isFloat
)

var errDigits = &mistake{"an integer has more than 1000 digits", "float(…) goes on with about 16 of them"}

// toNum reads a number; ok is false where v is none.
func toNum(v any) (n number, ok bool, err error) {
	switch v := v.(type) {
	case int64:
		return number{i: v}, true, nil
	case int:
		return number{i: int64(v)}, true, nil
	case float64:
		return number{f: v, is: isFloat}, true, nil
	case json.Number:
		n, err := parseNum(string(v))
		return n, true, err
	}
	return n, false, nil
}

func parseNum(s string) (number, error) {
	if strings.ContainsAny(s, ".eE") || s == "-0" {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return number{}, &mistake{"a number is too large to calculate with", ""}
		}
		return number{f: f, is: isFloat}, nil
	}
	if len(s) > maxDigits {
		return number{}, errDigits
	}
	b, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return number{}, &mistake{"a number is not well formed", ""}
	}
	return number{big: b, is: isBig}, nil
}

func (n number) bigInt() *big.Int {
	if n.is == isBig {
		return n.big
	}
	return big.NewInt(n.i)
}

func (n number) float() float64 {
	switch n.is {
	case isFloat:
		return n.f
	case isBig:
		f, _ := new(big.Float).SetInt(n.big).Float64()
		return f
	default:
		return float64(n.i)
	}
}

// integer gives an integer as a value, exact at any size.
func integer(b *big.Int) (any, error) {
	if b.IsInt64() {
		return b.Int64(), nil
	}
	if b.BitLen() > maxDigits*10/3 {
		return nil, errDigits
	}
	return json.Number(b.String()), nil
}

func float(f float64) (any, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, &mistake{"the outcome is too large or no number", ""}
	}
	return f, nil
}

// arithmetic makes an operator over two numbers. Integers stay integers, of any size; with a float64 all is float64.
// Times and durations are left to expr-lang.
func arithmetic(ints func(a, b number) (any, error), floats func(a, b float64) float64, others func(a, b any) any) operator {
	return func(c *invocation, a []any) (any, error) {
		if others != nil && (isTime(a[0]) || isTime(a[1])) {
			return others(a[0], a[1]), nil
		}
		x, y, err := c.numbers(a)
		if err != nil {
			return nil, err
		}
		if x.is == isFloat || y.is == isFloat {
			if floats == nil {
				return nil, c.fail(indexOfFloat(x), a[indexOfFloat(x)], "whole numbers")
			}
			return float(floats(x.float(), y.float()))
		}
		return ints(x, y)
	}
}

func indexOfFloat(x number) int {
	if x.is == isFloat {
		return 0
	}
	return 1
}

func (c *invocation) numbers(a []any) (x, y number, err error) {
	var n [2]number
	for i := range n {
		var ok bool
		if n[i], ok, err = toNum(a[i]); err != nil {
			return x, y, err
		}
		if !ok {
			return x, y, c.fail(i, a[i], "numbers")
		}
	}
	return n[0], n[1], nil
}

func isTime(v any) bool {
	switch v.(type) {
	case time.Time, time.Duration:
		return true
	}
	return false
}

func bigs(f func(z, a, b *big.Int) *big.Int, a, b number) (any, error) {
	return integer(f(new(big.Int), a.bigInt(), b.bigInt()))
}

func add(a, b number) (any, error) {
	if sum := a.i + b.i; a.is == isInteger && b.is == isInteger && (sum > a.i) == (b.i > 0) {
		return sum, nil
	}
	return bigs((*big.Int).Add, a, b)
}

func subtract(a, b number) (any, error) {
	if d := a.i - b.i; a.is == isInteger && b.is == isInteger && (d < a.i) == (b.i > 0) {
		return d, nil
	}
	return bigs((*big.Int).Sub, a, b)
}

func multiply(a, b number) (any, error) {
	const half = 1 << 31
	if a.is == isInteger && b.is == isInteger && a.i > -half && a.i < half && b.i > -half && b.i < half {
		return a.i * b.i, nil
	}
	return bigs((*big.Int).Mul, a, b)
}

var errZero = &mistake{"a division by zero", ""}

// divide gives an integer where the division leaves nothing, else a float64: 6 / 3 is 2, 7 / 2 is 3.5.
func divide(a, b number) (any, error) {
	x, y := a.bigInt(), b.bigInt()
	if y.Sign() == 0 {
		return nil, errZero
	}
	if q, rest := new(big.Int).QuoRem(x, y, new(big.Int)); rest.Sign() == 0 {
		return integer(q)
	}
	f, _ := new(big.Rat).SetFrac(x, y).Float64()
	return float(f)
}

func modulo(a, b number) (any, error) {
	if b.bigInt().Sign() == 0 {
		return nil, errZero
	}
	return bigs((*big.Int).Rem, a, b)
}

// power is exact for whole numbers with an exponent that is not negative.
func power(a, b number) (any, error) {
	base := a.bigInt()
	if b.is == isBig || b.i < 0 || base.BitLen() > 1 && b.i > maxDigits*10/3/int64(base.BitLen()-1) {
		return float(math.Pow(a.float(), b.float()))
	}
	if base.BitLen() <= 1 { // 0, 1 and -1 with any exponent
		if b.i > 1 {
			b.i = 2 - b.i%2
		}
	}
	return integer(new(big.Int).Exp(base, big.NewInt(b.i), nil))
}

func operatorAdd(c *invocation, a []any) (any, error) {
	s, left := a[0].(string)
	t, right := a[1].(string)
	switch {
	case left && right:
		return s + t, c.grow(len(s) + len(t))
	case left && a[1] != nil || right && a[0] != nil:
		return nil, &mistake{fmt.Sprintf("%s is %s and %s %s, but \"+\" adds two numbers or joins two texts",
			c.arg(0), KindOf(a[0]), c.arg(1), KindOf(a[1])), "int(…) and float(…) make a number of a text, string(…) makes a text"}
	case left:
		return nil, c.fail(1, a[1], "a text beside a text")
	case right:
		return nil, c.fail(0, a[0], "a text beside a text")
	}
	return arithmetic(add, func(a, b float64) float64 { return a + b }, runtime.Add)(c, a)
}

func negate(c *invocation, a []any) (any, error) {
	if d, ok := a[0].(time.Duration); ok {
		return -d, nil
	}
	n, ok, err := toNum(a[0])
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, c.fail(0, a[0], "a number")
	case n.is == isFloat:
		return -n.f, nil
	}
	return bigs(func(z, a, _ *big.Int) *big.Int { return z.Neg(a) }, n, n)
}

func unaryPlus(c *invocation, a []any) (any, error) {
	if _, ok, _ := toNum(a[0]); !ok {
		return nil, c.fail(0, a[0], "a number")
	}
	return a[0], nil
}
