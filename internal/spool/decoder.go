// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// columns are one scrape as readers see it.
type columns struct {
	series     []*series.Series
	values     []float64
	starts     []int64
	histograms []series.Histogram
	exemplars  []series.Exemplar
}

func (c *columns) len() int { return len(c.series) + len(c.histograms) }

// decoder turns the records of one segment, in order, into scrapes.
type decoder struct {
	columns
	dict   []*series.Series
	last   []float64
	starts []int64
	order  []uint32
	// chained: no record since the last full one is missing.
	chained bool
	defs    definitions
	body    []byte
}

func (d *decoder) reset() {
	clear(d.dict)
	d.dict, d.last, d.starts, d.order = d.dict[:0], d.last[:0], d.starts[:0], d.order[:0]
	d.chained = false
}

// decode reads one record into the columns. It reports false, without an error,
// for a good record that builds on one that is missing. After an error the records
// up to the next full one do not decode.
func (d *decoder) decode(f *frame, t *interner) (ok bool, err error) {
	full := f.flags&recFull != 0
	if !full && !d.chained && f.flags&recDefs == 0 {
		return false, nil
	}
	var body []byte
	if body, d.body, err = f.unpack(d.body); err != nil {
		d.chained = false
		return false, err
	}
	s := source{b: body}
	if f.flags&recDefs != 0 {
		d.define(&s, t)
	}
	if s.err == nil && !full && !d.chained {
		return false, nil
	}
	if full {
		clear(d.last)
		clear(d.starts)
	}
	d.read(&s, f)
	if s.err != nil {
		d.chained = false
		return false, fmt.Errorf("record of scrape %d at %d: %w", f.seq, f.offset, s.err)
	}
	d.chained = true
	if f.flags&recDefs != 0 && cap(d.body) > 16<<10 {
		d.body = nil // the next ones need far less
	}
	return true, nil
}

// define reads the definitions of a record. Where one before it is lost, the ids
// that it defined stay empty.
func (d *decoder) define(s *source, t *interner) {
	at, n := s.uvarint(), s.uvarint()
	if n > uint64(len(s.b)) || at < uint64(len(d.dict)) || at > maxSeries {
		s.fail("definitions out of order")
		return
	}
	d.grow(int(at + n))
	for i := range int(n) {
		p := d.defs.read(s, t, i == 0)
		if s.err != nil {
			return
		}
		d.dict[int(at)+i] = p
	}
}

// grow makes room for n ids.
func (d *decoder) grow(n int) {
	k := n - len(d.dict)
	if cap(d.dict) < n {
		d.dict = append(make([]*series.Series, 0, n+n/8), d.dict...)
		d.last = append(make([]float64, 0, n+n/8), d.last...)
		d.starts = append(make([]int64, 0, n+n/8), d.starts...)
	}
	for range k {
		d.dict, d.last, d.starts = append(d.dict, nil), append(d.last, 0), append(d.starts, 0)
	}
}

func (d *decoder) read(s *source, f *frame) {
	c := &d.columns
	clear(c.histograms)
	clear(c.exemplars)
	c.histograms, c.exemplars = c.histograms[:0], c.exemplars[:0]
	n := f.n
	if f.flags&recBlob != 0 {
		h := s.uvarint()
		if h > uint64(n) {
			s.fail("too many histograms")
			return
		}
		n -= int(h)
	}
	if f.flags&recOrder != 0 {
		if n > len(d.dict) {
			s.fail("more samples than series")
			return
		}
		d.order = s.order(d.order[:0], n, len(d.dict))
		c.series = c.series[:0]
		for _, id := range d.order {
			if d.dict[id] == nil {
				s.fail("the definition of a series is lost")
				return
			}
			c.series = append(c.series, d.dict[id])
		}
	}
	if len(d.order) != n || len(c.series) != n {
		s.fail("number of series")
		return
	}
	c.values = resize(c.values, n)
	s.values(d.order, d.last, c.values)
	if f.flags&recStarts != 0 {
		c.starts = resize(c.starts, n)
		s.starts(d.order, d.starts, c.starts)
	} else {
		c.starts = c.starts[:0]
	}
	if f.flags&recBlob != 0 {
		c.histograms, c.exemplars = s.blob(d.dict, n, c.histograms, c.exemplars)
		if s.err == nil && len(c.histograms)+n != f.n {
			s.fail("number of histograms")
		}
	} else if len(s.b) > 0 {
		s.fail("bytes behind the last column")
	}
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/8)
	}
	return s[:n]
}
