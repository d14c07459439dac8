package journal

import "time"

// Unsaved sets the age at which an object without a run is removed.
func (j *Journal) Unsaved(age time.Duration) { j.unsaved = age }
