package oracle

import "time"

// span is a time in which an array carried nothing out.
type span struct{ from, to time.Duration }

// Stalled says that an array carried nothing out from one instant to another, also
// nothing that hosts had sent which were reset meanwhile: the time in which their last
// writes land begins at its end. A stall that is shorter than that time is part of it.
func (j *Judge) Stalled(from, to time.Duration) {
	if to-from >= j.limits.Drain {
		j.stalls = append(j.stalls, span{from, to})
	}
}

// landed is when the last writes of a machine have landed that ended at end.
func (j *Judge) landed(end time.Duration) time.Duration {
	at := end + j.limits.Drain
	for _, s := range j.stalls {
		if s.from < at {
			at = max(at, s.to+j.limits.Drain)
		}
	}
	return at
}
