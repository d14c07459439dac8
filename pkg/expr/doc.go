// Package expr is the ${…} language: templates compiled once, the references that they make, and their values.
package expr
