// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"time"

	"github.com/prometheus/common/model"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// foreignFor is how long another host's segments are kept.
const (
	foreignSuffix = ".foreign"
	foreignFor    = 7 * 24 * time.Hour
)

// identify looks for the engine's daemon_id. A stored backlog that another
// instance wrote is held until it is known: with the same engine the host was
// renamed, with another one its disk was cloned.
func (s *Spool) identify(e *entry) {
	daemon, up := "", false
	for i, sr := range e.series {
		switch sr.Labels.Get(model.MetricNameLabel) {
		case "engine_daemon_engine_info":
			daemon = sr.Labels.Get("daemon_id")
		case "up":
			up = e.values[i] == 1
		}
	}
	held := s.state.heldUntil
	if daemon == "" {
		if up && held != 0 {
			// No engine: the instance alone has changed.
			s.adopt(s.state.daemon)
		}
		return
	}
	s.identified = true
	id := shortHash(daemon)
	if held != 0 && id != s.state.daemon {
		s.setAside(held)
	}
	if held != 0 || id != s.state.daemon {
		s.adopt(id)
	}
}

// adopt makes the backlog this host's.
func (s *Spool) adopt(daemon [16]byte) {
	s.state.instance, s.state.daemon = shortHash(s.o.Instance), daemon
	s.state.heldUntil = 0
	s.file.dirty, s.file.must = true, true
	s.changed()
}

// setAside takes the segments before that scrape out of the spool and renames them.
func (s *Spool) setAside(before uint64) {
	n, bytes := 0, int64(0)
	for n < len(s.segs) && s.segs[n].first < before {
		bytes += s.segs[n].size
		n++
	}
	if n == 0 {
		return
	}
	at := len(s.trash)
	s.evict(n, series.Foreign)
	for i := range s.trash[at:] {
		r := &s.trash[at+i]
		r.to = r.path + foreignSuffix
		s.aside = append(s.aside, r.to)
	}
	s.asideBytes += bytes
	s.state.aside = 0
}

// ageAside removes what was set aside when that is long enough ago.
func (s *Spool) ageAside(passed time.Duration) {
	before := s.state.aside
	if s.state.aside += passed; len(s.aside) == 0 {
		s.state.aside = 0
	}
	if s.state.aside >= foreignFor {
		s.dropAside()
	}
	if before/noteEvery != s.state.aside/noteEvery {
		s.file.dirty = true
	}
}

// dropAside removes another host's segments. They were set aside because of whose they
// are, which their engine's identity told, not because they could not be read.
func (s *Spool) dropAside() {
	for _, path := range s.aside {
		s.trash = append(s.trash, rubbish{path: path})
	}
	s.aside, s.asideBytes, s.state.aside = nil, 0, 0
}
