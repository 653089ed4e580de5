// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

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
	// While the file was read, its segment or the cursor may have gone.
	defer c.dropReader()
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
		c.note(mark{seq: at.Scrape, ordinal: at.Ordinal, cum: cum})
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
			c.timed(e.time, e.cum+uint64(e.len()))
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
			var ok bool
			next, ok, err = c.fetch(&p.view, at.Scrape)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				if len(b.Times) > 0 || b.Unreadable > 0 {
					return nil
				}
				return err
			}
			if ok && next.seq == at.Scrape {
				c.timed(next.time, next.end)
				if m.add(&c.reader.dec.columns, next, p.view.seg.epoch) {
					return nil
				}
				at, cum = b.To, next.end
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

// fetch brings the reader to the first readable scrape at or behind seq, which ok says,
// or gives the mark behind the segment. It is called with the spool's lock held and
// gives it up meanwhile. The error is fs.ErrNotExist where the segment has gone, or the
// disk's as long as it is worth asking again.
func (c *Cursor) fetch(v *segmentView, seq uint64) (next mark, ok bool, err error) {
	s := c.s
	s.mu.Unlock()
	ok, err = c.reader.seek(v, seq)
	s.mu.Lock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if !s.has(v.seg) {
			return next, false, err
		}
	case err != nil:
		if !exhausted(err) {
			c.fails++
		}
		if c.fails <= readTries {
			return next, false, err
		}
		s.log.WithError(err).WithField("path", v.path).Error("a segment cannot be read; it counts as unreadable, and its file is kept")
		v.seg.refused, c.fails = true, 0
	default:
		c.fails = 0
		if !ok && c.reader.passed > 0 {
			// At its end, and there were records: it was read, and is ours.
			v.seg.refused = false
		}
	}
	if !ok {
		return mark{seq: v.limit, cum: v.cum}, false, nil
	}
	r := &c.reader.cur
	return mark{seq: r.seq, cum: v.within(r.cum), end: v.within(r.cum + uint64(r.n)), time: r.time}, true, nil
}

// exhausted reports whether an error says something of the process or the machine,
// and nothing of the file: it is no reason to give up a segment, however often it comes.
func exhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
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

// timed notes the time of the scrape that was noted last, and the count behind it.
func (c *Cursor) timed(at int64, end uint64) {
	m := &c.last.marks[len(c.last.marks)-1]
	m.time, m.end = at, end
}

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
