package action

import (
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
)

// told is a scope that notes which public addresses a request hands out: a gateway's changes, and a person who asks why a
// callback never came must see where it was to go.
type told struct {
	expr.Scope
	addresses map[string]string // by what the file calls them: gateway:8090.public_url
}

// Resolve gives the value that a reference names.
func (s *told) Resolve(ref *expr.Reference) (any, error) {
	v, err := s.Scope.Resolve(ref)
	if err != nil || len(ref.Path) != 1 || ref.Source != "gateway" && ref.Source != "listener" {
		return v, err
	}
	switch field := ref.Path[0].Name; field {
	case "public_url", "public_address", "url", "base_url":
		name := ref.Source
		if ref.Arg != "" {
			name += ":" + ref.Arg
		}
		if s.addresses == nil {
			s.addresses = map[string]string{}
		}
		s.addresses[name+"."+field] = value.Text(v)
	}
	return v, nil
}
