package tunnel

import (
	"context"
	"net"
)

// Spec is one tunnel: a local port and what it needs to be known for.
type Spec struct {
	Gateway string // id in the compose file
	Port    int    // local port
	Remote  int    // port asked for at the other end, where the driver has such; 0: any
	Name    string // host name asked for at the other end, where the driver has such; "": any
	Target  string // host:port of the local service, for a driver whose traffic does not pass this process
	// Serve takes what comes in on l until ctx ends, lets what is in flight finish, and closes l.
	Serve func(ctx context.Context, l net.Listener) error
}

// Observation is what a driver sees of its tunnel.
type Observation struct {
	// SignedIn is set, and nothing else, when the other side has let us in and the tunnel is not open yet: who was let in,
	// and by what. Where signing in and binding are one request, it is not reported.
	SignedIn string
	// URL is set when the tunnel is open, as far as the driver can tell.
	URL     string
	Address string // host:port, where there is such
	// Err is set when the tunnel has dropped and the driver connects again by itself.
	Err error
}

// Driver holds one tunnel: until ctx ends, or until it fails for the reason returned. Observations are not to be
// waited for: report returns at once when nobody listens any more.
type Driver interface {
	Run(ctx context.Context, spec Spec, report func(Observation)) error
}
