package expr

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
)

// Names of functions that only the rewriter calls; the scanner lets none of them through.
const (
	refFunc    = "ref"
	memberFunc = "[]"
	sliceFunc  = "[:]"
	truthFunc  = "?bool"
	listFunc   = "?list"
	keyFunc    = "?key"
	stepFunc   = "?step"
	methodFunc = "?method"
	negateFunc = "-x"
	plusFunc   = "+x"
)

type astNode = ast.Node

// rewriter changes expr-lang's tree before it is compiled: operators become this package's own functions, which
// keep every digit, know null and name the operand that is wrong; what is missing is null instead of a panic.
type rewriter struct {
	operands []operand
	done     map[astNode]astNode // expr-lang shares nodes in a < b < c and a ?: b
	failed   *mistake
	at       file.Location
	lets     int
}

// Visit is called for each node after its children.
func (r *rewriter) Visit(node *ast.Node) {
	if n, ok := r.done[*node]; ok {
		*node = n
		return
	}
	was := *node
	if n := r.rewrite(was); n != nil && n != was {
		if n.Location() == (file.Location{}) {
			n.SetLocation(was.Location())
		}
		*node = n
	}
	r.done[was], r.done[*node] = *node, *node
}

func (r *rewriter) rewrite(node ast.Node) ast.Node {
	switch n := node.(type) {
	case *ast.BinaryNode:
		return r.binary(n)
	case *ast.UnaryNode:
		return r.unary(n)
	case *ast.ConditionalNode:
		n.Cond = r.truth(n.Cond, "?")
	case *ast.MemberNode:
		if !n.Method {
			return r.call(n, memberFunc, n.Node, n.Property)
		}
		n.Node = r.named(n.Node, methodFunc, "."+strings.Trim(n.Property.String(), `"`), n.Node)
	case *ast.SliceNode:
		return r.call(n, sliceFunc, n.Node, orNil(n.From), orNil(n.To))
	case *ast.PairNode:
		if _, ok := n.Key.(*ast.StringNode); !ok {
			n.Key = r.named(n.Key, keyFunc, "a map's key", n.Key)
		}
	case *ast.CallNode:
		return r.function(n)
	case *ast.BuiltinNode:
		return r.builtin(n)
	}
	return node
}

func orNil(n ast.Node) ast.Node {
	if n == nil {
		return &ast.NilNode{}
	}
	return n
}

func (r *rewriter) binary(n *ast.BinaryNode) ast.Node {
	switch n.Operator {
	case "&&", "and", "||", "or":
		n.Left, n.Right = r.truth(n.Left, n.Operator), r.truth(n.Right, n.Operator)
		return n
	case "??":
		return n
	case "matches":
		if pattern, ok := n.Right.(*ast.StringNode); ok {
			re, err := regexp.Compile(pattern.Value)
			if err != nil {
				r.fail(pattern.Location(), "the pattern cannot be read: "+err.Error(), "patterns are regular expressions as in Go (RE2)")
				return n
			}
			return r.call(n, n.Operator, n.Left, &ast.ConstantNode{Value: re})
		}
	case "**":
		return r.call(n, "^", n.Left, n.Right)
	}
	if _, ok := operators[n.Operator]; !ok {
		r.fail(n.Location(), "the operator "+n.Operator+" is not known here", "")
		return n
	}
	return r.call(n, n.Operator, n.Left, n.Right)
}

func (r *rewriter) unary(n *ast.UnaryNode) ast.Node {
	switch n.Operator {
	case "-":
		if i, ok := n.Node.(*ast.IntegerNode); ok {
			return &ast.IntegerNode{Value: -i.Value}
		}
		return r.named(n, negateFunc, "-", n.Node)
	case "+":
		return r.named(n, plusFunc, "+", n.Node)
	}
	n.Node = r.truth(n.Node, n.Operator)
	return n
}

// truth makes sure that n is true or false.
func (r *rewriter) truth(n ast.Node, of string) ast.Node {
	return r.named(n, truthFunc, of, n)
}

func (r *rewriter) fail(at file.Location, message, hint string) {
	if r.failed == nil {
		r.failed, r.at = &mistake{message, hint}, at
	}
}

// call makes a call of one of this package's functions at the place of n.
func (r *rewriter) call(at ast.Node, function string, args ...ast.Node) ast.Node {
	return r.named(at, function, function, args...)
}

func (r *rewriter) named(at ast.Node, function, name string, args ...ast.Node) ast.Node {
	if c, ok := args[0].(*ast.CallNode); ok && function == truthFunc && calls(c, truthFunc) {
		return c
	}
	_, isOperator := operators[function]
	s := &site{name: name, binary: isOperator && len(args) == 2, function: isFunction(name)}
	for _, a := range args {
		s.args = append(s.args, r.describe(a))
	}
	env, where := &ast.IdentifierNode{Value: "$env"}, &ast.ConstantNode{Value: s}
	callee := &ast.IdentifierNode{Value: function}
	c := &ast.CallNode{Callee: callee, Arguments: append([]ast.Node{env, where}, args...)}
	c.SetLocation(at.Location())
	callee.SetLocation(at.Location())
	r.done[c] = c
	return c
}

func calls(n *ast.CallNode, function string) bool {
	id, ok := n.Callee.(*ast.IdentifierNode)
	return ok && id.Value == function
}

// describe gives an argument as written, where that is short to say.
func (r *rewriter) describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.CallNode:
		switch {
		case calls(n, refFunc):
			if i, ok := n.Arguments[1].(*ast.IntegerNode); ok && i.Value >= 0 && i.Value < len(r.operands) {
				return r.operands[i.Value].name
			}
		case calls(n, stepFunc):
			return r.describe(n.Arguments[2])
		case calls(n, memberFunc):
			of := r.describe(n.Arguments[2])
			if key, ok := n.Arguments[3].(*ast.StringNode); ok && of != "" {
				return of + "." + key.Value
			}
		}
	case *ast.PointerNode:
		return "#" + n.Name
	case *ast.IdentifierNode:
		return n.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode:
		return n.String()
	case *ast.NilNode:
		return "null"
	}
	return ""
}

// function hands a call of a library function to this package's table.
func (r *rewriter) function(n *ast.CallNode) ast.Node {
	id, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || id.Value == refFunc {
		return n
	}
	if _, ok := functions[id.Value]; !ok {
		return n
	}
	return r.apply(n, id.Value, n.Arguments)
}

func (r *rewriter) apply(at ast.Node, name string, args []ast.Node) ast.Node {
	f := functions[name]
	if least, most := f.count(); len(args) < least || len(args) > most {
		r.fail(at.Location(), name+" takes "+f.arity()+", not "+strconv.Itoa(len(args)), "")
		return at
	}
	if len(args) == 0 {
		args = []ast.Node{&ast.NilNode{}}
	}
	return r.call(at, name, args...)
}

// builtin rewrites a function with a predicate.
func (r *rewriter) builtin(n *ast.BuiltinNode) ast.Node {
	if _, ok := functions[n.Name]; ok {
		return r.apply(n, n.Name, n.Arguments)
	}
	if len(n.Arguments) == 0 {
		return n
	}
	of := n.Arguments[0]
	n.Arguments[0] = r.named(of, listFunc, n.Name, of)
	predicate := n.Arguments[len(n.Arguments)-1]
	if len(n.Arguments) > 1 {
		predicate = n.Arguments[1]
	}
	p, _ := predicate.(*ast.PredicateNode)
	if p != nil {
		p.Node = r.call(p.Node, stepFunc, p.Node)
	}
	switch {
	case n.Name == "sum" || n.Name == "sortBy" || n.Name == "groupBy":
		return r.aggregate(n, p)
	case n.Name == "map" || n.Name == "reduce":
	case p != nil:
		p.Node = r.truth(p.Node, n.Name)
	case n.Name == "count":
		n.Arguments = append(n.Arguments, &ast.PredicateNode{Node: r.truth(&ast.PointerNode{}, n.Name)})
	}
	return n
}

// aggregate turns sum(list, predicate) into a function over list and map(list, predicate).
func (r *rewriter) aggregate(n *ast.BuiltinNode, p *ast.PredicateNode) ast.Node {
	name := "$list" + strconv.Itoa(r.lets)
	r.lets++
	items := &ast.IdentifierNode{Value: name}
	keys := ast.Node(items)
	if p != nil {
		keys = &ast.BuiltinNode{Name: "map", Arguments: []ast.Node{&ast.IdentifierNode{Value: name}, p}}
		keys.SetLocation(n.Location())
	}
	args := []ast.Node{items, keys}
	if n.Name == "sortBy" && len(n.Arguments) > 2 {
		args = append(args, n.Arguments[2])
	}
	return &ast.VariableDeclaratorNode{Name: name, Value: n.Arguments[0], Expr: r.call(n, "?"+n.Name, args...)}
}
