package action

import "time"

// SetGrace sets how long a command may take to end after it was asked to.
func (p *Performer) SetGrace(d time.Duration) { p.shells.grace = d }
