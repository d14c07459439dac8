// Package tunnel keeps one tunnel and tells the truth about it: states, retries, the probe through the public URL, and the
// proxy that takes what comes in.
//
// A [Driver] opens a tunnel and says what it sees. A [Keeper] runs it, tries again as its errors' classes allow, and
// believes that the tunnel is up only when a request through the public URL has come back to this process. [Next] holds
// the whole state machine, and does nothing else.
package tunnel
