// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

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
		if c.lostFrom = max(c.lostFrom, min(cum, c.lostTo)); c.lostFrom == cum {
			c.lostAt = to
		}
		if c.lost() == 0 {
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
	} else if c.lostFrom <= c.cum {
		c.lostFrom, c.lostAt = c.cum, to
	}
	if c.sentCum <= c.cum {
		c.sent, c.sentCum = series.Position{}, 0
	}
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
		c.lostFrom, c.lostTo, c.lostAt = from, from, c.pos
		if c.sentCum > c.cum {
			c.lostAt = c.sent
		}
	}
	if cum <= from {
		return
	}
	c.tally.Lost[why] += cum - from
	c.lostBy[why] += cum - from
	c.lostTo, c.resume = cum, to
	c.version++
}
