//go:build !race

package waits_test

import "math"

const underRace = math.MaxInt
