// SPDX-License-Identifier: Apache-2.0

package spool

import "time"

// Usage is what the spool takes on disk, in bytes: what MaxBytes caps.
func (s *Spool) Usage() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes()
}

// Begun reports whether a scrape was ever appended, by this process or by one before
// it. Of a spool in memory only, which knows none of those, it is true.
func (s *Spool) Begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dir == "" || s.next > 1
}

// Unclaimed is a stored cursor that no endpoint has claimed. It is deleted when
// that has been so for seven days.
type Unclaimed struct {
	// Name is that of the endpoint which made it.
	Name string
	// Since is when the first Claim left it out.
	Since time.Time
	// Samples wait behind it.
	Samples uint64
}

// Unclaimed lists them; nil when there is none or nobody has called Claim yet.
func (s *Spool) Unclaimed() []Unclaimed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Unclaimed
	for _, c := range s.cursors {
		if !c.claimed && c.unclaimed != 0 {
			out = append(out, Unclaimed{Name: c.name, Since: time.UnixMilli(c.unclaimed), Samples: c.pending(s.visibleCum)})
		}
	}
	return out
}
