// SPDX-License-Identifier: Apache-2.0

package spool

import "github.com/docker-remote-write/docker-remote-write/internal/series"

// merge gathers scrapes into a batch by series.
type merge struct {
	b      *series.Batch
	lim    Limits
	reader *reader
	// at is where it goes on; seen are the first and the last scrape that were looked at.
	at   series.Position
	seen [2]edge
	// epoch is that of the scrapes in it.
	epoch    uint64
	complete bool
	// indexed: rows has every row of the batch.
	indexed bool
}

func (m *merge) reset(from series.Position) {
	b := m.b
	b.From, b.To = from, from
	b.Times, b.Rows = b.Times[:0], b.Rows[:0]
	b.Samples, b.Lost = 0, [series.Losses]uint64{}
	clear(m.reader.times[:])
}

// skip goes on behind what is not there.
func (m *merge) skip(next gap) {
	b := m.b
	if missing := less(next.cum, b.To.Count); missing > 0 {
		dropped := less(next.cum, max(b.To.Count, next.lostFrom))
		b.Lost[series.RingFull] += dropped
		b.Lost[series.Unreadable] += missing - dropped
	}
	b.To = series.Position{Scrape: next.seq, Count: max(b.To.Count, next.cum)}
	m.at = b.To
}

// add merges one scrape from b.To's ordinal on and moves b.To; cum is the count in
// front of the scrape. It reports whether the batch is complete; b.To may then be where
// it was.
func (m *merge) add(sc *series.Scrape, seq, cum, epoch uint64) (done bool) {
	b, lim := m.b, m.lim
	if m.seen[1] = (edge{seq, cum, sc.Time}); m.seen[0].seq == 0 {
		m.seen[0] = m.seen[1]
	}
	if n := len(b.Times); n > 0 {
		if epoch != m.epoch || m.reader.times[sc.Target] != 0 && sc.Time <= m.reader.times[sc.Target] || lim.Before != 0 && sc.Time >= lim.Before {
			return true
		}
		if lim.Width > 0 && sc.Len() > lim.Width {
			return true
		}
		if lim.Scrapes > 0 && n >= lim.Scrapes || lim.Samples > 0 && b.Samples >= lim.Samples {
			return true
		}
	}
	m.epoch, m.reader.times[sc.Target] = epoch, sc.Time
	b.Times = append(b.Times, sc.Time)
	first := int(b.To.Ordinal)
	end := sc.Len()
	if lim.Samples > 0 {
		end = min(end, first+lim.Samples-b.Samples)
	}
	if lim.Width > 0 && end > 0 {
		parts := (sc.Len() + lim.Width - 1) / lim.Width
		end = min(end, first+(sc.Len()+parts-1)/parts)
	}
	m.floats(sc, first, min(end, len(sc.Series)))
	m.others(sc, first, end)
	if end > first {
		b.Samples += end - first
	}
	if end < sc.Len() {
		n := max(end, first)
		b.To = series.Position{Scrape: seq, Ordinal: uint32(n), Count: cum + uint64(n)}
		return true
	}
	b.To = series.Position{Scrape: seq + 1, Count: cum + uint64(sc.Len())}
	return false
}

func (m *merge) floats(sc *series.Scrape, first, end int) {
	b := m.b
	fresh := len(b.Rows) == 0
	next := 0
	for i := first; i < end; i++ {
		sr := sc.Series[i]
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
		smp := series.Sample{T: sc.Time, V: sc.Values[i]}
		if len(sc.Starts) > 0 {
			smp.Start = sc.Starts[i]
		}
		r.Samples = append(r.Samples, smp)
	}
}

// others merges the native histograms, and the exemplars of either column.
func (m *merge) others(sc *series.Scrape, first, end int) {
	for i := max(first, len(sc.Series)); i < end; i++ {
		h := sc.Histograms[i-len(sc.Series)]
		r, _ := m.row(h.Series)
		r.Histograms = append(r.Histograms, series.HistogramAt{T: sc.Time, Histogram: h})
	}
	for _, x := range sc.Exemplars {
		if x.Index < first || x.Index >= end {
			continue
		}
		var sr *series.Series
		if x.Index < len(sc.Series) {
			sr = sc.Series[x.Index]
		} else {
			sr = sc.Histograms[x.Index-len(sc.Series)].Series
		}
		r, _ := m.row(sr)
		r.Exemplars = append(r.Exemplars, x)
	}
}

// row finds the series' row by its number, and says which row comes next. The index is
// only brought up to the batch when the rows of a scrape do not stand in the order of
// the one before.
func (m *merge) row(sr *series.Series) (r *series.Row, next int) {
	b := m.b
	if !m.indexed {
		for i := range b.Rows {
			m.index(b.Rows[i].Series, i)
		}
		m.indexed = true
	}
	if at := sr.Ref.Index(); at < len(m.reader.rows) {
		if i := int(m.reader.rows[at]); i < len(b.Rows) && b.Rows[i].Series == sr {
			return &b.Rows[i], i + 1
		}
	}
	r = m.grow(sr)
	return r, len(b.Rows)
}

// index notes a series' row. What stands there counts only where the row is that
// series', so that nothing need be cleared.
func (m *merge) index(sr *series.Series, row int) {
	rows, at := &m.reader.rows, sr.Ref.Index()
	if at >= len(*rows) {
		*rows = append(*rows, make([]uint32, at+1-len(*rows)+at/4)...)
	}
	(*rows)[at] = uint32(row)
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
		m.index(sr, len(b.Rows)-1)
	}
	return r
}
