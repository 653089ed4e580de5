// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"
	"sync"

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
	// crashed is where a range in flight ended when the process last did.
	crashed    series.Position
	hasCrashed bool
	// lostBy says of the samples in [lostFrom, lostTo) for which reason they were
	// counted, so that a late answer can take that back.
	lostBy [series.Losses]uint64
	// version grows with each change; writing, saved and tried are the ones last
	// handed to the disk, written, and written or failed.
	version, writing, saved, tried uint64
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
	// created is the cumulative count when the cursor was made.
	created uint64
	// unclaimed is when, in milliseconds, no endpoint wanted the cursor any more,
	// 0 while one does.
	unclaimed int64
	tally     series.Tally
}

// mark is the cumulative count in front of a scrape, and the scrape's time.
type mark struct {
	seq, cum uint64
	time     int64
}

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
func (c *cursorState) lost() uint64 { return c.lostTo - c.lostFrom }

// pending is the number of samples up to that count that wait, those in flight
// among them.
func (c *cursorState) pending(total uint64) uint64 {
	if total < c.cum+c.lost() {
		return 0
	}
	return total - c.cum - c.lost()
}

// Begin notes, unsynced, that the range up to that position is about to be sent:
// after a crash InFlight tells it, and while it is in flight evicting its segment
// does not count it as lost.
func (c *Cursor) Begin(to series.Position) error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	cum, err := c.count(to)
	if err != nil {
		return fmt.Errorf("note the range in flight of %s: %w", c.name, err)
	}
	c.hasCrashed = false
	if cum <= c.cum {
		return nil
	}
	c.sent, c.sentCum = to, cum
	// What was evicted between the read and now is in the sender's memory all the
	// same; what was gone when the range was read is not.
	if c.lost() > 0 && c.lostFrom == c.cum {
		from := c.readFrom(to)
		if gone := min(from.from, c.lostTo); gone > c.cum {
			c.pos, c.cum, c.lostFrom = from.at, from.from, max(gone, c.lostFrom)
			if gone == c.lostTo {
				c.pos, c.cum = c.resume, c.lostTo
			}
		}
		c.recall(c.cum, cum)
		if c.lostFrom = max(c.lostFrom, min(cum, c.lostTo)); c.lost() == 0 {
			c.forget()
		}
	}
	c.save()
	return nil
}

// Doubt notes, with the next Begin or Ack, that the samples up to that position may
// be at the receiver already although less of them is about to be sent: until they
// are acknowledged, InFlight tells that position if it is the later one.
func (c *Cursor) Doubt(to series.Position) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	cum, err := c.count(to)
	if err != nil {
		return fmt.Errorf("note what %s may have: %w", c.name, err)
	}
	c.doubt, c.doubtCum = to, cum
	return nil
}

// InFlight is the end of the range that Begin or Doubt named last, if no Ack has
// followed: the answer is unknown, in the process before this one, or of a sender
// before this one.
func (c *Cursor) InFlight() (series.Position, bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.hasCrashed {
		return c.crashed, true
	}
	to, cum := c.uncertain()
	return to, cum > c.cum
}

// uncertain is the end of what may be at the receiver.
func (c *cursorState) uncertain() (series.Position, uint64) {
	if c.doubtCum > c.sentCum && c.doubtCum > c.cum {
		return c.doubt, c.doubtCum
	}
	return c.sent, c.sentCum
}

// Ack moves the cursor to that position, which lies at or behind it, and adds
// what became of the samples in between. Samples that the tally leaves out are an
// error; they are counted as unreadable then, so that the sum holds in any case.
// The move is persisted with the tally; if the disk refuses, Err says so, and a
// crash would make the samples be sent again.
func (c *Cursor) Ack(to series.Position, t series.Tally) error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	cum, err := c.count(to)
	if err != nil {
		return fmt.Errorf("acknowledge for %s: %w", c.name, err)
	}
	if cum < c.cum {
		return fmt.Errorf("acknowledge for %s: %v lies before %v", c.name, to, c.pos)
	}
	// The tally covers [base, cum). Samples between the cursor and base are either
	// counted as evicted already, or left out.
	sum, base := t.Sum(), c.cum
	switch {
	case sum == cum-c.cum:
	case c.lostFrom == c.cum && c.lostTo > c.cum && cum >= c.lostTo && sum == cum-c.lostTo:
		base = c.lostTo
	case sum < cum-c.cum:
		// Of those that are lost already none may be counted again.
		left := cum - c.cum - sum
		if c.lostFrom == c.cum && c.lostTo > c.cum {
			skip := min(left, c.lost(), cum-c.cum)
			base, left = c.cum+skip, left-skip
		}
		t.Lost[series.Unreadable] += left
		if left > 0 {
			err = fmt.Errorf("acknowledge for %s up to %v: the tally leaves %d samples out", c.name, to, left)
		}
	default:
		err = fmt.Errorf("acknowledge for %s up to %v: the tally has %d samples too many", c.name, to, sum-(cum-c.cum))
		curtail(&t, sum-(cum-c.cum))
	}
	c.explain(base, cum, &t)
	c.recall(base, cum)
	c.tally.Add(t)
	c.pos, c.cum = to, cum
	c.peek(to.Scrape)
	if c.lostTo <= c.cum {
		c.forget()
	} else {
		c.lostFrom = max(c.lostFrom, c.cum)
	}
	if c.sentCum <= c.cum {
		c.sent, c.sentCum = series.Position{}, 0
	}
	c.hasCrashed = false
	s.trim()
	c.save()
	return err
}

// curtail takes n samples out of a tally that has too many.
func curtail(t *series.Tally, n uint64) {
	for i := range t.Lost {
		k := min(n, t.Lost[i])
		t.Lost[i] -= k
		n -= k
	}
	t.Delivered -= min(n, t.Delivered)
}

// explain gives the samples in [from, to) that the reader could only call
// unreadable the reason that is known: they were evicted while they were read, or
// never reached the disk.
func (c *Cursor) explain(from, to uint64, t *series.Tally) {
	for _, g := range c.s.gaps {
		n := min(overlap(from, to, g.from, g.to), t.Lost[series.Unreadable])
		t.Lost[series.Unreadable] -= n
		t.Lost[g.why] += n
	}
}

func overlap(a0, a1, b0, b1 uint64) uint64 {
	if lo, hi := max(a0, b0), min(a1, b1); hi > lo {
		return hi - lo
	}
	return 0
}

// recall takes back what was counted as lost in [from, to).
func (c *Cursor) recall(from, to uint64) {
	n := overlap(from, to, c.lostFrom, c.lostTo)
	for i := range c.lostBy {
		k := min(n, c.lostBy[i])
		c.lostBy[i] -= k
		c.tally.Lost[i] -= k
		n -= k
	}
}

// forget makes final what was counted as lost.
func (c *Cursor) forget() {
	c.lostFrom, c.lostTo, c.resume = 0, 0, series.Position{}
	c.lostBy = [series.Losses]uint64{}
}

// lose counts what lies before cum, the range in flight excepted, as lost.
func (c *Cursor) lose(to series.Position, cum uint64, why series.Loss) {
	from := max(c.cum, c.sentCum)
	if c.lostTo > c.lostFrom {
		from = c.lostTo
	} else {
		c.lostFrom, c.lostTo = from, from
	}
	if cum <= from {
		return
	}
	c.tally.Lost[why] += cum - from
	c.lostBy[why] += cum - from
	c.lostTo, c.resume = cum, to
	c.version++
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
				return m.cum + uint64(p.Ordinal), nil
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
	return m.cum + uint64(p.Ordinal), nil
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
	if pos.Scrape <= s.visible {
		b.Scrapes = s.visible + 1 - pos.Scrape
		if c.lost() > 0 && c.resume != pos && c.resume.Scrape > c.sent.Scrape {
			b.Scrapes -= c.resume.Scrape - c.sent.Scrape
		}
	}
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
