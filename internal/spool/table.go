// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// unclaimedFor is for how long, in time that the process runs, a cursor is kept that
// no endpoint claims.
const unclaimedFor = 7 * 24 * time.Hour

// table is the cursors, and what is to be written of them. It knows nothing of where
// the scrapes are.
type table struct {
	mu      sync.Mutex
	cursors []*Cursor
	// claimed: Claim was called. Before that every stored cursor counts as claimed.
	claimed bool
	// orphans counts cursors whose entry in the cursor file is damaged.
	orphans int
	// removed is what became of the samples of cursors that were deleted.
	removed series.Tally
	file    cursorFile
	// err is why the cursors do not reach the disk.
	err error
}

// needed reports whether segments are kept for the cursor. Until Claim was called
// each stored cursor may still be claimed.
func (t *table) needed(c *Cursor) bool { return c.claimed || !t.claimed }

// least is where the cursor stands that needs the oldest scrapes, or, where none needs
// any, end.
func (t *table) least(end series.Position) series.Position {
	for _, c := range t.cursors {
		if t.needed(c) && c.state.pos.Before(end) {
			end = c.state.pos
		}
	}
	return end
}

// leaving reports whether the state of a cursor that is to be written is that of a Begin.
func (t *table) leaving() bool {
	for _, c := range t.cursors {
		if c.saved != c.version && c.state.pos.Before(c.pin) {
			return true
		}
	}
	return false
}

// pinned reports whether an attempt is under way with samples in front of that
// position and behind, or at, the other.
func (t *table) pinned(from, to series.Position) bool {
	for _, c := range t.cursors {
		if c.pin != (series.Position{}) && c.state.pos.Before(to) && from.Before(c.pin) {
			return true
		}
	}
	return false
}

// lose moves every cursor that stands before that position there: what it had not
// sent is lost, then and there.
func (t *table) lose(to series.Position, why series.Loss) {
	for _, c := range t.cursors {
		if t.needed(c) && c.state.pos.Before(to) {
			c.state.tally.Lost[why] += less(to.Count, c.state.pos.Count)
			c.state.pos = to
			c.version++
		}
	}
}

// expire deletes the cursors that nobody has claimed for too long; passed is for how
// long the process has run since the last call, end the count behind what may be sent.
func (t *table) expire(passed time.Duration, end uint64, log logrus.FieldLogger) {
	if !t.claimed {
		return
	}
	kept := t.cursors[:0]
	for _, c := range t.cursors {
		if !c.claimed {
			if c.state.idle/noteEvery != (c.state.idle+passed)/noteEvery {
				c.version++
			}
			c.state.idle += passed
		}
		if c.claimed || c.state.idle < unclaimedFor {
			kept = append(kept, c)
			continue
		}
		n := less(end, c.state.pos.Count)
		t.removed.Lost[series.EndpointRemoved] += n
		t.file.freed = append(t.file.freed, c.pair)
		log.WithFields(logrus.Fields{"endpoint": c.state.name, "samples": n}).Warn("a cursor that no endpoint claimed for seven days is deleted")
	}
	clear(t.cursors[len(kept):])
	t.cursors = kept
}

// wrong is a mistake of the caller's.
func (c *Cursor) wrong(format string, args ...any) error {
	return fmt.Errorf("acknowledge for %s: the tally "+format, append([]any{c.state.name}, args...)...)
}

// notify tells every cursor that something was appended or evicted.
func (t *table) notify() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.cursors {
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

// Usage is what the spool takes on disk, in bytes: what MaxBytes caps.
func (s *Spool) Usage() int64 {
	s.table.mu.Lock()
	n := s.table.file.size()
	s.table.mu.Unlock()
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return n + s.log.bytes()
}

// Begun reports whether a scrape was ever appended, by this process or by one before
// it. Of a spool in memory only, which knows none of those, it is true.
func (s *Spool) Begun() bool {
	return s.log.dir == "" || s.log.readable().seq > 1
}

// Removed is what became of the samples of cursors that were deleted because no
// endpoint claimed them.
func (s *Spool) Removed() series.Tally {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	return s.table.removed
}

// Unclaimed is a stored cursor that no endpoint has claimed. It is deleted when the
// process has run for seven days since.
type Unclaimed struct {
	// Name is that of the endpoint which made it.
	Name string
	// Since is when the first Claim left it out, as the clock showed it then.
	Since time.Time
	// Samples wait behind it.
	Samples uint64
}

// Unclaimed lists them; nil when there is none or nobody has called Claim yet.
func (s *Spool) Unclaimed() []Unclaimed {
	end := s.log.readable().cum
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	var out []Unclaimed
	for _, c := range s.table.cursors {
		if !c.claimed && c.state.unclaimed != 0 {
			out = append(out, Unclaimed{Name: c.state.name, Since: time.UnixMilli(c.state.unclaimed), Samples: less(end, c.state.pos.Count)})
		}
	}
	return out
}
