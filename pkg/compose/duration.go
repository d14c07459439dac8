package compose

import "time"

// ParseDuration reads a duration as the compose file writes it: a bare number is milliseconds, a string takes a unit up to "7d".
func ParseDuration(s string) (time.Duration, error) { return parseDuration(s) }
