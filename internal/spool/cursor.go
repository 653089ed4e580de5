// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"sync"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Cursor is one endpoint's place in the queue.
type Cursor struct {
	s *Spool
	// pair is the cursor's place in the cursor file.
	pair int
	// The fields below are guarded by the spool's lock.
	cursorState
	claimed bool
	// lostBy says of the samples in [lostFrom, lostTo) for which reason they were
	// counted, so that a late answer can take that back.
	lostBy [series.Losses]uint64
	// version grows with each change; writing, saved and tried are the ones last
	// handed to the disk, written, and written or failed.
	version, writing, saved, tried uint64
	// idleNoted is what of idle was handed to the disk.
	idleNoted time.Duration
	// oldest caches the time of the scrape at oldestAt.
	oldest   int64
	oldestAt uint64
	// last and before are what the last two reads covered; the cursor's own
	// goroutine's.
	last, before bounds
	changedCh    chan struct{}

	// reading guards what Read works with, which only the cursor's goroutine does.
	reading sync.Mutex
	reader  reader
	rows    map[*series.Series]int32
	fails   int
}

// cursorState is what is kept of a cursor on disk. Counts are cumulative ones, of
// samples since the spool began.
type cursorState struct {
	name              string
	nameHash, urlHash [16]byte
	// pos and cum are where the next sample stands of which nothing is known yet.
	pos series.Position
	cum uint64
	// sent and sentCum end the range in flight; sent is zero for none.
	sent    series.Position
	sentCum uint64
	// doubt and doubtCum end what Doubt named; on disk the later of the two ends
	// stands in the place of sent.
	doubt    series.Position
	doubtCum uint64
	// The samples in [lostFrom, lostTo), at or behind the range in flight, were
	// evicted and are counted as lost; resume is the place behind them.
	lostFrom, lostTo uint64
	resume           series.Position
	// lostAt is the place of lostFrom. It is not stored.
	lostAt series.Position
	// created is the cumulative count when the cursor was made.
	created uint64
	// unclaimed is when, in milliseconds, no endpoint wanted the cursor any more,
	// 0 while one does.
	unclaimed int64
	// idle is for how long the process has run since then.
	idle  time.Duration
	tally series.Tally
}

// mark is the cumulative counts in front of a scrape's sample, most often its first,
// and, where it is not 0, behind the scrape; and the scrape's time.
type mark struct {
	seq, cum, end uint64
	ordinal       uint32
	time          int64
}

// at is the count in front of one of the scrape's samples.
func (m *mark) at(ordinal uint32) uint64 {
	if ordinal < m.ordinal {
		return less(m.cum, uint64(m.ordinal-ordinal))
	}
	cum := m.cum + uint64(ordinal-m.ordinal)
	if m.end != 0 {
		cum = min(cum, m.end)
	}
	return cum
}

// less is a - b, and 0 where that would be negative: a count that is off by some must
// not become one of 20 digits.
func less(a, b uint64) uint64 { return a - min(a, b) }

// bounds are what one read covered: where it began, the count there, and a mark for
// each scrape in it and the one behind it.
type bounds struct {
	at    series.Position
	from  uint64
	marks []mark
}

// Name is the endpoint's name.
func (c *Cursor) Name() string {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.name
}

// Changed receives after something was appended or evicted. It never closes.
func (c *Cursor) Changed() <-chan struct{} { return c.changedCh }

// Position is where the next unacknowledged sample stands.
func (c *Cursor) Position() series.Position {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.position()
}

func (c *cursorState) position() series.Position {
	if c.lostTo > c.cum && c.lostFrom == c.cum {
		return c.resume
	}
	return c.pos
}

// lost is the number of samples in front of the cursor's range that are counted.
func (c *cursorState) lost() uint64 { return less(c.lostTo, c.lostFrom) }

// pending is the number of samples up to that count that wait, those in flight
// among them.
func (c *cursorState) pending(total uint64) uint64 { return less(total, c.cum+c.lost()) }

// scrapes is the number of sequence numbers before next that wait. Not behind each is
// a scrape.
func (c *cursorState) scrapes(next uint64) uint64 {
	pos := c.position()
	if c.lost() == 0 || pos == c.resume {
		return less(next, pos.Scrape)
	}
	// What is in flight, or was, and behind what was evicted meanwhile.
	end := c.lostAt.Scrape
	if c.lostAt.Ordinal > 0 {
		end++
	}
	return max(1, less(end, pos.Scrape)) + less(next, c.resume.Scrape)
}

// count gives the cumulative count in front of a position. It is called with the
// spool's lock held, and gives it up where it has to look on disk.
func (c *Cursor) count(p series.Position) (uint64, error) {
	s := c.s
	switch {
	case p == c.pos:
		return c.cum, nil
	case c.lost() > 0 && p == c.resume:
		return c.lostTo, nil
	case p == c.sent:
		return c.sentCum, nil
	}
	for _, b := range [2]*bounds{&c.last, &c.before} {
		for _, m := range b.marks {
			if m.seq == p.Scrape {
				return m.at(p.Ordinal), nil
			}
		}
	}
	if p.Scrape == s.next && p.Ordinal == 0 {
		return s.total, nil
	}
	if e := s.ring.get(p.Scrape); e != nil {
		return e.cum + uint64(p.Ordinal), nil
	}
	m, err := s.find(p.Scrape)
	if err != nil {
		return 0, err
	}
	if m.seq != p.Scrape {
		// It is damaged; what is known is the count in front of the next one.
		return m.cum, nil
	}
	return m.at(p.Ordinal), nil
}

// readFrom is where the newest read that reached that position began.
func (c *Cursor) readFrom(p series.Position) *bounds {
	for _, b := range [2]*bounds{&c.last, &c.before} {
		for _, m := range b.marks {
			if m.seq == p.Scrape {
				return b
			}
		}
	}
	return &bounds{at: c.pos, from: c.cum}
}

// Backlog is what waits beyond the cursor.
func (c *Cursor) Backlog() Backlog {
	s := c.s
	s.mu.Lock()
	pos := c.position()
	b := Backlog{Samples: c.pending(s.visibleCum)}
	b.Scrapes = min(c.scrapes(s.visible+1), b.Samples)
	for i, g := range s.segs {
		if i+1 == len(s.segs) && pos.Scrape <= s.durable || i+1 < len(s.segs) && s.segs[i+1].first > pos.Scrape {
			b.Bytes += g.size
		}
	}
	s.mu.Unlock()
	if b.Samples > 0 {
		b.Oldest = c.oldestTime(pos)
	}
	return b
}

// peek takes the time of a scrape from what was read, so that Backlog need not look
// it up.
func (c *Cursor) peek(seq uint64) {
	for _, b := range [2]*bounds{&c.last, &c.before} {
		for _, m := range b.marks {
			if m.seq == seq && m.time != 0 {
				c.oldest, c.oldestAt = m.time, seq
				return
			}
		}
	}
}

// oldestTime is the time of the scrape at that position, or of the first one
// behind it that can be read.
func (c *Cursor) oldestTime(pos series.Position) int64 {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.ring.get(pos.Scrape); e != nil {
		return e.time
	}
	if c.oldestAt == pos.Scrape && c.oldest != 0 {
		return c.oldest
	}
	if m, err := s.find(pos.Scrape); err == nil {
		c.oldest, c.oldestAt = m.time, pos.Scrape
		return m.time
	}
	return 0
}

// Tally is what became of the cursor's samples since it was made, over restarts.
func (c *Cursor) Tally() series.Tally {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.tally
}

// Appended counts the samples appended since the cursor was made, over restarts.
func (c *Cursor) Appended() uint64 {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return max(c.s.visibleCum, c.created) - c.created
}

// save writes the cursor to its file, as soon as the disk lets it.
func (c *Cursor) save() {
	s := c.s
	c.version++
	if s.dir == "" || s.closing {
		return
	}
	v := c.version
	s.kick()
	// If the disk keeps us waiting, the cursor is written later.
	_ = s.await(func() (bool, error) { return c.tried >= v, nil })
}
