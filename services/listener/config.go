package listener

import (
	"cmp"
	"errors"
	"time"
)

// Config is what may be set besides the compose file. A zero value means the default.
type Config struct {
	// Listeners are the ids of those to serve; none means all.
	Listeners []string `koanf:"listeners"`

	// Where a listener has max_concurrent_count: how many requests wait for a slot (-1: none), and how long.
	QueueLength  int           `koanf:"queue_length"`
	QueueTimeout time.Duration `koanf:"queue_timeout"`

	// How long a client may take for the header of a request, between two requests, and to read the answer.
	// The whole request has the listener's read_timeout.
	HeaderTimeout time.Duration `koanf:"header_timeout"`
	IdleTimeout   time.Duration `koanf:"idle_timeout"`
	WriteTimeout  time.Duration `koanf:"write_timeout"`

	MaxHeaderSize  int `koanf:"max_header_size"` // bytes of the request line and header together
	MaxURLLength   int `koanf:"max_url_length"`
	MaxConnections int `koanf:"max_connections"` // of one listener

	// RetryAfter is what a 503 asks for.
	RetryAfter time.Duration `koanf:"retry_after"`
	// ShutdownTimeout bounds what is in flight when the service is told to stop.
	ShutdownTimeout time.Duration `koanf:"shutdown_timeout"`
}

// DefaultConfig gives the defaults.
func DefaultConfig() Config {
	return Config{
		QueueLength: 1024, QueueTimeout: 5 * time.Second,
		HeaderTimeout: 10 * time.Second, IdleTimeout: 75 * time.Second, WriteTimeout: 30 * time.Second,
		MaxHeaderSize: 16 << 10, MaxURLLength: 8 << 10, MaxConnections: 16384,
		RetryAfter: 2 * time.Second, ShutdownTimeout: 20 * time.Second,
	}
}

// withDefaults fills what is zero. What is negative stays, for validate.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.QueueLength = cmp.Or(c.QueueLength, d.QueueLength)
	c.QueueTimeout = cmp.Or(c.QueueTimeout, d.QueueTimeout)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, d.HeaderTimeout)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, d.IdleTimeout)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, d.WriteTimeout)
	c.MaxHeaderSize = cmp.Or(c.MaxHeaderSize, d.MaxHeaderSize)
	c.MaxURLLength = cmp.Or(c.MaxURLLength, d.MaxURLLength)
	c.MaxConnections = cmp.Or(c.MaxConnections, d.MaxConnections)
	c.RetryAfter = cmp.Or(c.RetryAfter, d.RetryAfter)
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, d.ShutdownTimeout)
	return c
}

// validate tells every value that cannot be.
func (c Config) validate() error {
	var errs []error
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"queue_timeout", int64(c.QueueTimeout)},
		{"header_timeout", int64(c.HeaderTimeout)},
		{"idle_timeout", int64(c.IdleTimeout)},
		{"write_timeout", int64(c.WriteTimeout)},
		{"max_header_size", int64(c.MaxHeaderSize)},
		{"max_url_length", int64(c.MaxURLLength)},
		{"max_connections", int64(c.MaxConnections)},
		{"retry_after", int64(c.RetryAfter)},
		{"shutdown_timeout", int64(c.ShutdownTimeout)},
	} {
		if v.value < 0 {
			errs = append(errs, errors.New(v.name+" must be more than 0"))
		}
	}
	return errors.Join(errs...)
}
