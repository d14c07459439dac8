// Package imports holds the repository's rules: who may import whom, what a binary links, how packages and modules are kept.
package imports
