package action

import "time"

// SetGrace sets how long a command may take to end after it was asked to.
func (p *Performer) SetGrace(d time.Duration) { p.shells.grace = d }

// KeptClients is how many clients are kept.
const KeptClients = keptClients

// Clients counts those of components that set something of their own.
func (p *Performer) Clients() int { return p.clients.owned.Len() }
