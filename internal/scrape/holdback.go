// SPDX-License-Identifier: Apache-2.0

package scrape

import "time"

// booting is what is known of an engine that is still starting.
type booting struct {
	since time.Time
	over  bool // HoldBack has passed without the engine becoming ready
}

// holdBack reports whether what was read comes from an engine that is still
// booting and is not to be believed yet.
func (s *Scraper) holdBack(now time.Time) bool {
	if s.o.HoldBack <= 0 {
		return false
	}
	if !s.reading.cpusZero || s.reading.engineInfo {
		s.booting = booting{}
		return false
	}
	if s.booting.over {
		return false
	}
	// The reading of now may be without a monotonic part or step; time.Now has one.
	if s.booting.since.IsZero() {
		s.booting.since = time.Now()
		s.o.Log.WithField("at_most", s.o.HoldBack.String()).Info("the engine is still starting: scrapes are held back")
	} else if time.Since(s.booting.since) >= s.o.HoldBack {
		s.booting.over = true
		s.o.Log.WithField("after", s.o.HoldBack.String()).Warn("the engine does not report itself as ready: scrapes are no longer held back")
		return false
	}
	return true
}
