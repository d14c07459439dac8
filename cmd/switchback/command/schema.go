package command

import (
	"github.com/switchbackhq/switchback/pkg/compose"
)

type schemaCommand struct{}

// Run prints the schema.
func (schemaCommand) Run(s *streams) error {
	_, err := s.out.Write(append(compose.Schema(), '\n'))
	return err
}
