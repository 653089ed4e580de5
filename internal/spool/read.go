// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// readTries is how often a segment that the disk refuses to read is tried again
// before what is left of it counts as unreadable.
const readTries = 3

// Read fills b with consecutive scrapes from that position on, merged by series,
// within the limits and never across a clock mark. Nothing there is no error:
// b.To is then b.From. Where all that there is is damaged, b has no samples, and
// b.To lies behind the damage. Reading does not move the cursor. b and its memory
// are valid until the next Read with it.
func (c *Cursor) Read(b *series.Batch, from series.Position, lim Limits) error {
	c.reading.Lock()
	defer c.reading.Unlock()
	s := c.s
	c.last, c.before = c.before, c.last
	c.last.marks = c.last.marks[:0]
	if len(c.rows) > 0 {
		clear(c.rows)
	}
	m := merge{c: c, b: b, lim: lim}
	m.reset(from)

	s.mu.Lock()
	defer s.mu.Unlock()
	if from.Scrape < s.state.heldUntil {
		return ErrHeld
	}
	cum, err := c.count(from)
	if err != nil {
		return fmt.Errorf("read at %v: %w", from, err)
	}
	c.last.at, c.last.from = from, cum
	at := from
	for {
		c.note(mark{seq: at.Scrape, cum: cum - uint64(at.Ordinal)})
		p, ok := s.locate(at.Scrape)
		if !ok {
			return nil
		}
		var next mark
		switch {
		case p.skip:
			next = mark{seq: p.next, cum: p.cum}
		case p.entry != nil:
			e := p.entry
			c.timed(e.time)
			if m.add(&e.columns, mark{seq: e.seq, cum: e.cum, time: e.time}, e.epoch) {
				return nil
			}
			at, cum = b.To, e.cum+uint64(e.len())
			c.fails = 0
			if c.reader.f != nil {
				c.reader.close()
			}
			continue
		default:
			s.mu.Unlock()
			ok, err := c.reader.seek(&p.view, at.Scrape)
			s.mu.Lock()
			switch {
			case errors.Is(err, fs.ErrNotExist) && !s.has(p.view.seg):
				continue
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				if c.fails++; c.fails <= readTries {
					if len(b.Times) > 0 || b.Unreadable > 0 {
						return nil
					}
					return err
				}
				s.log.WithError(err).WithField("path", p.view.path).Error("a segment cannot be read; it counts as unreadable")
				ok = false
			case err == nil:
				c.fails = 0
			}
			if ok {
				r := &c.reader.cur
				next = mark{seq: r.seq, cum: r.cum, time: r.time}
			} else {
				next = mark{seq: p.view.limit, cum: p.view.cum}
			}
			if ok && next.seq == at.Scrape {
				c.timed(next.time)
				if m.add(&c.reader.dec.columns, next, p.view.seg.epoch) {
					return nil
				}
				at, cum = b.To, next.cum+uint64(c.reader.cur.n)
				continue
			}
		}
		// What lies between is gone.
		if next.cum > cum {
			b.Unreadable += next.cum - cum
		}
		at, cum = series.Position{Scrape: next.seq}, max(cum, next.cum)
		b.To = at
	}
}

// has reports whether the segment is still part of the spool.
func (s *Spool) has(g *segment) bool {
	for _, h := range s.segs {
		if h == g {
			return true
		}
	}
	return false
}

func (c *Cursor) note(m mark) {
	if n := len(c.last.marks); n > 0 && c.last.marks[n-1].seq == m.seq {
		return
	}
	c.last.marks = append(c.last.marks, m)
}

// timed notes the time of the scrape that was noted last.
func (c *Cursor) timed(at int64) { c.last.marks[len(c.last.marks)-1].time = at }

// merge gathers scrapes into a batch by series.
type merge struct {
	c   *Cursor
	b   *series.Batch
	lim Limits
	// indexed: c.rows has every row of the batch.
	indexed bool
	epoch   uint64
}

func (m *merge) reset(from series.Position) {
	b := m.b
	b.From, b.To = from, from
	b.Times, b.Rows = b.Times[:0], b.Rows[:0]
	b.Samples, b.Unreadable = 0, 0
}

// add merges one scrape from b.To's ordinal on and moves b.To. It reports whether
// the batch is complete; b.To may then be where it was.
func (m *merge) add(col *columns, at mark, epoch uint64) (done bool) {
	b, lim := m.b, m.lim
	if n := len(b.Times); n > 0 {
		if epoch != m.epoch || at.time <= b.Times[n-1] || lim.Before != 0 && at.time >= lim.Before {
			return true
		}
		if lim.Width > 0 && col.len() > lim.Width {
			return true
		}
		if lim.Scrapes > 0 && n >= lim.Scrapes || lim.Samples > 0 && b.Samples >= lim.Samples {
			return true
		}
	}
	m.epoch = epoch
	b.Times = append(b.Times, at.time)
	first := int(b.To.Ordinal)
	end := col.len()
	if lim.Samples > 0 {
		end = min(end, first+lim.Samples-b.Samples)
	}
	if lim.Width > 0 && end > 0 {
		parts := (col.len() + lim.Width - 1) / lim.Width
		end = min(end, first+(col.len()+parts-1)/parts)
	}
	floats := min(end, len(col.series))
	fresh := len(b.Rows) == 0
	next := 0
	for i := first; i < floats; i++ {
		sr := col.series[i]
		var r *series.Row
		switch {
		case fresh:
			r = m.grow(sr)
		case next < len(b.Rows) && b.Rows[next].Series == sr:
			r = &b.Rows[next]
			next++
		default:
			r, next = m.row(sr)
		}
		smp := series.Sample{T: at.time, V: col.values[i]}
		if len(col.starts) > 0 {
			smp.Start = col.starts[i]
		}
		r.Samples = append(r.Samples, smp)
	}
	for i := max(first, len(col.series)); i < end; i++ {
		h := col.histograms[i-len(col.series)]
		r, _ := m.row(h.Series)
		r.Histograms = append(r.Histograms, series.HistogramAt{T: at.time, Histogram: h})
	}
	for _, x := range col.exemplars {
		if x.Index < first || x.Index >= end {
			continue
		}
		var sr *series.Series
		if x.Index < len(col.series) {
			sr = col.series[x.Index]
		} else {
			sr = col.histograms[x.Index-len(col.series)].Series
		}
		r, _ := m.row(sr)
		r.Exemplars = append(r.Exemplars, x)
	}
	if end > first {
		b.Samples += end - first
	}
	if end < col.len() {
		b.To = series.Position{Scrape: at.seq, Ordinal: uint32(max(end, first))}
		return true
	}
	b.To = series.Position{Scrape: at.seq + 1}
	return false
}

// row finds the series' row by the index, which is only made when the rows of a
// scrape do not stand in the order of the one before, and says which row comes next.
func (m *merge) row(sr *series.Series) (r *series.Row, next int) {
	c, b := m.c, m.b
	if c.rows == nil {
		c.rows = map[*series.Series]int32{}
	}
	if !m.indexed {
		for i := range b.Rows {
			c.rows[b.Rows[i].Series] = int32(i)
		}
		m.indexed = true
	}
	if i, ok := c.rows[sr]; ok {
		return &b.Rows[i], int(i) + 1
	}
	r = m.grow(sr)
	return r, len(b.Rows)
}

// grow appends a row, in the memory of an earlier one if there is any.
func (m *merge) grow(sr *series.Series) *series.Row {
	b := m.b
	if n := len(b.Rows); n < cap(b.Rows) {
		b.Rows = b.Rows[:n+1]
	} else {
		b.Rows = append(b.Rows, series.Row{})
	}
	r := &b.Rows[len(b.Rows)-1]
	clear(r.Histograms)
	clear(r.Exemplars)
	r.Series, r.Samples, r.Histograms, r.Exemplars = sr, r.Samples[:0], r.Histograms[:0], r.Exemplars[:0]
	if m.indexed {
		m.c.rows[sr] = int32(len(b.Rows) - 1)
	}
	return r
}
