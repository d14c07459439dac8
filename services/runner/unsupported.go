package runner

import (
	"fmt"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
)

// unsupported refuses a file that asks for what this runner cannot do yet: to pass over it in silence would be worse.
func unsupported(doc *compose.Document) error {
	for _, c := range doc.Components {
		if c.Type == compose.HTTPServer {
			return notYet(c.Pos, "component "+c.ID+" of type http-server", "start the server yourself, and use a component of type http-client")
		}
	}
	return nil
}

func notYet(pos compose.Pos, what, hint string) error {
	return fault.New(fault.Usage, fmt.Sprintf("%s: %s is not supported yet", pos, what), hint)
}
