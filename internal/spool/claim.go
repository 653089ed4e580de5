// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Claim gives each endpoint its cursor, in the order given: a stored one by name,
// else by an identical URL; if then one endpoint and one stored cursor remain,
// they belong together. Any other endpoint starts behind the newest scrape, or,
// where its cursor may have been lost to damage, at the oldest. It is called again
// when the endpoints change; a cursor keeps its identity.
func (s *Spool) Claim(eps []Endpoint) ([]*Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, ErrClosed
	}
	for i, e := range eps {
		for _, f := range eps[:i] {
			if e.Name == f.Name {
				return nil, fmt.Errorf("claim cursors: two endpoints are named %q", e.Name)
			}
		}
	}
	// 0 is none.
	now := max(1, s.clock.now().UnixMilli())
	s.expire()
	out := s.match(eps)
	first := !s.claimed
	s.claimed = true
	for _, c := range s.cursors {
		wanted := false
		for _, o := range out {
			wanted = wanted || o == c
		}
		if !wanted && (c.claimed || c.unclaimed == 0) {
			c.claimed, c.unclaimed, c.idle, c.idleNoted = false, now, 0, 0
			c.sent, c.sentCum = series.Position{}, 0
			c.doubt, c.doubtCum = series.Position{}, 0
			c.version++
			s.dropReaders()
			s.log.WithField("endpoint", c.name).Info("no endpoint claims this cursor any more")
		}
	}
	for i, e := range eps {
		c := out[i]
		if c == nil {
			c = s.newCursor()
			out[i] = c
		}
		if c.name != e.Name && c.name != "" {
			s.log.WithFields(logrus.Fields{"endpoint": e.Name, "was": c.name}).Info("an endpoint takes over a stored cursor")
		}
		if !c.claimed {
			s.rejoin(c, first)
		}
		c.name, c.nameHash, c.urlHash = e.Name, shortHash(e.Name), shortHash(e.URL)
		c.claimed, c.unclaimed, c.idle, c.idleNoted = true, 0, 0, 0
		c.version++
	}
	s.orphans = 0
	if s.dir == "" {
		return out, nil
	}
	s.file.must = true
	s.kick()
	_ = s.await(func() (bool, error) { return !s.file.must || s.cursorErr != nil, nil })
	return out, nil
}

// match finds the stored cursor of each endpoint, nil where there is none.
func (s *Spool) match(eps []Endpoint) []*Cursor {
	out := make([]*Cursor, len(eps))
	used := map[*Cursor]bool{}
	take := func(fits func(e Endpoint, c *Cursor) bool) {
		for i, e := range eps {
			for _, c := range s.cursors {
				if out[i] == nil && !used[c] && fits(e, c) {
					out[i], used[c] = c, true
				}
			}
		}
	}
	take(func(e Endpoint, c *Cursor) bool { return shortHash(e.Name) == c.nameHash })
	take(func(e Endpoint, c *Cursor) bool { return e.URL != "" && shortHash(e.URL) == c.urlHash })
	if len(eps)-len(used) == 1 && len(s.cursors)-len(used) == 1 {
		take(func(Endpoint, *Cursor) bool { return true })
	}
	return out
}

// newCursor makes a cursor behind the newest scrape, or at the oldest one if a
// stored cursor is known to be lost: sending twice is better than not at all.
func (s *Spool) newCursor() *Cursor {
	c := &Cursor{s: s, changedCh: make(chan struct{}, 1)}
	c.reader.s = s
	c.pos, c.cum = series.Position{Scrape: s.next}, s.total
	if s.orphans > 0 {
		s.orphans--
		c.pos, c.cum = s.head()
	}
	c.created = c.cum
	c.pair = 1
	for taken := true; taken; {
		taken = false
		for _, o := range s.cursors {
			if o.pair == c.pair {
				c.pair++
				taken = true
			}
		}
	}
	s.file.room(c.pair)
	s.cursors = append(s.cursors, c)
	return c
}

// head is where the oldest scrape stands that there is.
func (s *Spool) head() (series.Position, uint64) {
	switch {
	case len(s.segs) > 0:
		return series.Position{Scrape: s.segs[0].first}, s.segs[0].cum
	case len(s.ring.entries) > 0:
		return series.Position{Scrape: s.ring.entries[0].seq}, s.ring.entries[0].cum
	}
	return series.Position{Scrape: s.next}, s.total
}

// rejoin brings a cursor that is claimed up to what there is. restart is true
// where it was an endpoint's when the process last ended.
func (s *Spool) rejoin(c *Cursor, restart bool) {
	// What was in flight when its segment went can no longer be sent.
	if c.lost() > 0 {
		c.tally.Lost[series.EvictedSize] += less(c.lostFrom, c.cum)
		c.pos, c.cum = c.resume, c.lostTo
		c.forget()
	}
	head, cum := s.head()
	if cum > c.cum {
		n := cum - c.cum
		why := series.Unreadable
		if !restart || c.unclaimed != 0 {
			why = series.EndpointRemoved
		} else if _, sent := c.uncertain(); sent > c.cum {
			flight := min(sent, cum) - c.cum
			c.tally.Lost[series.EvictedSize] += flight
			n -= flight
		}
		c.tally.Lost[why] += n
		c.pos, c.cum = head, cum
	}
}

// expire deletes the cursors that nobody has claimed for too long, and another host's
// segments that have been aside for too long: in time that the process ran.
func (s *Spool) expire() {
	passed := s.clock.passed()
	s.ageAside(passed)
	kept := s.cursors[:0]
	for _, c := range s.cursors {
		if !c.claimed && c.unclaimed != 0 {
			c.idle += passed
		}
		if c.claimed || c.unclaimed == 0 || c.idle < unclaimedFor {
			kept = append(kept, c)
			continue
		}
		n := c.pending(s.visibleCum)
		s.state.removed.Lost[series.EndpointRemoved] += n
		s.file.freed = append(s.file.freed, c.pair)
		s.file.dirty = true
		s.log.WithFields(logrus.Fields{"endpoint": c.name, "samples": n}).Warn("a cursor that no endpoint claimed for seven days is deleted")
	}
	clear(s.cursors[len(kept):])
	s.cursors = kept
}

// Removed is what became of the samples of cursors that were deleted because no
// endpoint claimed them.
func (s *Spool) Removed() series.Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.removed
}
