// SPDX-License-Identifier: Apache-2.0

package scrape

import "time"

// holdBack reports whether what was read comes from an engine that is still
// booting and is not to be believed yet, which lasts for HoldBack at most.
func (s *Scraper) holdBack(r *reading) bool {
	switch {
	case s.o.HoldBack <= 0:
		return false
	case !r.cpusZero || r.engineInfo:
		s.booting = time.Time{}
		return false
	case s.booting.IsZero():
		s.booting = time.Now()
	}
	return time.Since(s.booting) < s.o.HoldBack
}
