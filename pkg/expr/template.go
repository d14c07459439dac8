package expr

// Template is one compiled value of a compose file: a scalar, text with ${…} in it, a map or a list.
type Template struct{}
