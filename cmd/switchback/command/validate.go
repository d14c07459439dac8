package command

import (
	"errors"
	"fmt"
	"strings"

	"github.com/switchbackhq/switchback/cmd/switchback/show"
	"github.com/switchbackhq/switchback/pkg/compose"
)

// files are the flags that name the compose file and change it.
type files struct {
	File []string `short:"f" sep:"none" placeholder:"FILE" help:"Compose file; several are merged from left to right (switchback.yaml, or model-compose.yml, in this folder)."`
	Set  []string `sep:"none" placeholder:"PATH=VALUE" help:"A value laid over the file, such as listener.port=8095."`
}

func (f *files) options() compose.Options { return compose.Options{Files: f.File, Set: f.Set} }

type validateCommand struct {
	files
	format
}

// Help explains what is not checked.
func (*validateCommand) Help() string {
	return "What only the place of running knows, such as an unset variable or a missing key file, is listed as needed at start and is no error here."
}

type validity struct {
	Valid    bool              `json:"valid"`
	Files    []string          `json:"files"`
	Problems []compose.Problem `json:"problems"`
	Needs    []compose.Problem `json:"needs"`
}

// Run checks the compose file.
func (v *validateCommand) Run(s *streams) error {
	o := v.options()
	if len(o.Files) == 0 {
		found, err := compose.Find("")
		if err != nil {
			return err
		}
		o.Files = found
	}
	doc, err := compose.Load(o)
	if err != nil {
		invalid, ok := errors.AsType[*compose.Invalid](err)
		if ok && v.json() {
			return errors.Join(show.JSON(s.out, validity{Files: o.Files, Problems: invalid.Problems, Needs: []compose.Problem{}}), err)
		}
		return err
	}
	needs := doc.Needs
	if needs == nil {
		needs = []compose.Problem{}
	}
	return v.print(s, validity{Valid: true, Files: o.Files, Problems: []compose.Problem{}, Needs: needs}, func() error {
		fmt.Fprintf(s.out, "%s: valid (%s)\n", strings.Join(o.Files, ", "), contents(doc))
		if len(needs) > 0 {
			fmt.Fprintln(s.out, "\nNeeded at start:")
			for _, n := range needs {
				fmt.Fprintln(s.out, n.String())
			}
		}
		return nil
	})
}

// contents says what is in a document: 1 listener, 2 components, 1 workflow.
func contents(doc *compose.Document) string {
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{
		{len(doc.Listeners), "listener"},
		{len(doc.Gateways), "gateway"},
		{len(doc.Components), "component"},
		{len(doc.Workflows), "workflow"},
	} {
		if part.n > 0 {
			parts = append(parts, count(part.n, part.what))
		}
	}
	if len(parts) == 0 {
		return "nothing in it"
	}
	return strings.Join(parts, ", ")
}
