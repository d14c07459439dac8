package expr

// Scope gives the values of references while a template is evaluated.
type Scope interface {
	// Resolve gives the value that ref leads to. What is missing is nil, nil; an error ends the evaluation.
	Resolve(ref *Reference) (any, error)
}

// Map is a scope over decoded values by the name of their source: "input", "gateway:8090". A source with an
// argument is looked for by both, then as a value of the map under its name alone.
type Map map[string]any

// Resolve walks the path within the source's value.
func (m Map) Resolve(ref *Reference) (any, error) {
	if ref.Arg == "" {
		return Walk(m[ref.Source], ref.Path), nil
	}
	v, ok := m[ref.Source+":"+ref.Arg]
	if !ok {
		if byArg, isMap := m[ref.Source].(map[string]any); isMap {
			v = byArg[ref.Arg]
		}
	}
	return Walk(v, ref.Path), nil
}
