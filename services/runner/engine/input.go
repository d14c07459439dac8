package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

// CheckInput holds a run's input against what its workflow declares, and fills in defaults. All that is wrong is in the
// error. A workflow that declares nothing takes anything.
func CheckInput(workflow *compose.Workflow, raw json.RawMessage) (json.RawMessage, error) {
	if len(workflow.Inputs) == 0 {
		return raw, nil
	}
	v, err := value.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("the input is not JSON: %w", err)
	}
	input, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("the input is not a JSON object")
	}
	var wrong []error
	for _, in := range workflow.Inputs {
		v := input[in.Name]
		if v == nil && in.Default != nil {
			if v, err = in.Default.Eval(expr.Map{}); err != nil {
				return nil, fmt.Errorf("the default of input %s: %w", in.Name, err)
			}
			input[in.Name] = v
		}
		if v == nil {
			if in.Required {
				wrong = append(wrong, fmt.Errorf("input %s is missing", in.Name))
			}
			continue
		}
		if err := checkValue(in, v); err != nil {
			wrong = append(wrong, fmt.Errorf("input %s %w", in.Name, err))
		}
	}
	if len(wrong) > 0 {
		return nil, oneLine(wrong)
	}
	return value.Encode(input)
}

func checkValue(in *compose.Input, v any) error {
	if in.Type != "" && in.Type != "any" && !isType(in.Type, v) {
		return fmt.Errorf("must be of type %s", in.Type)
	}
	if in.Enum != nil {
		var allowed []string
		for _, e := range in.Enum {
			if equal(e, v) {
				allowed = nil
				break
			}
			allowed = append(allowed, value.Text(e))
		}
		if allowed != nil {
			return fmt.Errorf("must be one of %s", strings.Join(allowed, ", "))
		}
	}
	if n, ok := number(v); ok {
		if f, _ := n.Float64(); in.Minimum != nil && f < *in.Minimum {
			return fmt.Errorf("must be at least %v", *in.Minimum)
		} else if in.Maximum != nil && f > *in.Maximum {
			return fmt.Errorf("must be at most %v", *in.Maximum)
		}
	}
	if in.Pattern != "" {
		re, err := regexp.Compile(in.Pattern)
		if err != nil {
			return fmt.Errorf("has a pattern that cannot be read: %w", err)
		}
		if !re.MatchString(value.Text(v)) {
			return fmt.Errorf("must match %s", in.Pattern)
		}
	}
	return nil
}

func isType(name string, v any) bool {
	switch v := v.(type) {
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case map[string]any:
		return name == "object"
	case []any:
		return name == "array"
	default:
		n, ok := number(v)
		return name == "number" || name == "integer" && ok && n.IsInt()
	}
}

func oneLine(errs []error) error {
	parts := make([]string, len(errs))
	for i, err := range errs {
		parts[i] = err.Error()
	}
	return errors.New(strings.Join(parts, "; "))
}
