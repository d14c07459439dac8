package expr

// Rules say what a template may refer to.
type Rules struct {
	Sources map[string]Arg // by name
}

// Arg tells whether a source takes an argument, as in ${gateway:8090.port}.
type Arg uint8

// Whether there is an argument.
const (
	NoArg       Arg = iota // ${input.size}
	OptionalArg            // ${listener.url} and ${listener:ID.url}
	RequiredArg            // ${gateway:8090.port}
)

// Problem is one thing wrong in a template, found when it is compiled.
type Problem struct {
	Path    []any // to the string: map keys and list indexes within the compiled value
	Offset  int   // byte in that string
	Message string
	Hint    string // what to do about it; may be empty
}
