package command

import (
	"time"

	"github.com/switchbackhq/switchback/pkg/settings"
)

// duration is a flag's time span: 250ms, 30s, 5m, 2h or 7d.
type duration time.Duration

// UnmarshalText reads a flag.
func (d *duration) UnmarshalText(text []byte) error {
	span, err := settings.ParseDuration(string(text))
	*d = duration(span)
	return err //nolint:wrapcheck // the parser says what is wrong with the flag's value
}
