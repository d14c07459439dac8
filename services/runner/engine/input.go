package engine

import (
	"encoding/json"
	"errors"
	"fmt"
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
		if err := in.Check(v); err != nil {
			wrong = append(wrong, fmt.Errorf("input %s %w", in.Name, err))
		}
	}
	if len(wrong) > 0 {
		return nil, oneLine(wrong)
	}
	return value.Encode(input)
}

func oneLine(errs []error) error {
	parts := make([]string, len(errs))
	for i, err := range errs {
		parts[i] = err.Error()
	}
	return errors.New(strings.Join(parts, "; "))
}
