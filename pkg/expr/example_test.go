package expr_test

import (
	"fmt"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

func Example() {
	template, problems := expr.Compile(map[string]any{
		"id":    "${body.task_id}",
		"saved": "${body.before - body.after}",
		"note":  "${body.name | nobody} saved ${body.after * 100 / body.before} %",
		"url":   "${gateway:8090.public_url}/done",
	}, expr.Rules{Sources: map[string]expr.Arg{"body": expr.NoArg, "gateway": expr.RequiredArg}})
	if len(problems) > 0 {
		fmt.Println(problems)
		return
	}
	for _, r := range template.References() {
		fmt.Printf("reads %s, followed by %q\n", r.Text, r.Follow)
	}

	body, err := value.Decode([]byte(`{"task_id": 12345678901234567890, "before": 2048, "after": 1024}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := template.Eval(expr.Map{"body": body, "gateway:8090": map[string]any{"public_url": "https://t.example"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := value.Encode(v)
	fmt.Println(string(text), err)
	// Output:
	// reads body.task_id, followed by ""
	// reads body.name, followed by " saved "
	// reads body.after, followed by " %"
	// reads body.before, followed by " %"
	// reads body.before, followed by ""
	// reads body.after, followed by ""
	// reads gateway:8090.public_url, followed by "/done"
	// {"id":12345678901234567890,"note":"nobody saved 50 %","saved":1024,"url":"https://t.example/done"} <nil>
}

func ExampleCompile_problems() {
	const source = "Hello ${inptu.name}, ${uper(input.city)}"
	_, problems := expr.Compile(source, expr.Rules{Sources: map[string]expr.Arg{"input": expr.NoArg}})
	for _, p := range problems {
		fmt.Printf("%s\n%*s^ %s (%s)\n", source, p.Offset, "", p.Message, p.Hint)
	}
	// Output:
	// Hello ${inptu.name}, ${uper(input.city)}
	//         ^ unknown source inptu (did you mean input?)
	// Hello ${inptu.name}, ${uper(input.city)}
	//                        ^ unknown function uper (did you mean upper?)
}
