// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"fmt"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// decoder turns the records of one segment, in order, into scrapes.
type decoder struct {
	// scrape is the one that was decoded last.
	scrape series.Scrape
	// dict are the segment's series by their ids, nil where the definition is lost.
	// The decoder holds them.
	dict  []defined
	order []uint32
	// chained: no record since the last full one is missing.
	chained bool
	body    []byte
}

// reset leaves the segment, whose series are the caller's to give up.
func (d *decoder) reset() {
	clear(d.dict)
	d.dict, d.order, d.chained = d.dict[:0], d.order[:0], false
	d.scrape.Reset()
	if cap(d.dict) > keepBuffer/8 {
		*d = decoder{}
	}
}

// decode reads one record into scrape. It reports false, without an error, for a
// good record that builds on one that is missing. After an error the records up to
// the next full one do not decode.
func (d *decoder) decode(f *frame, reg *series.Registry) (ok bool, err error) {
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
		d.define(&s, reg)
	}
	if s.err == nil && !full && !d.chained {
		return false, nil
	}
	if full {
		for i := range d.dict {
			d.dict[i].value, d.dict[i].start = 0, 0
		}
	}
	d.read(&s, f)
	if s.err != nil {
		d.chained = false
		return false, fmt.Errorf("record of scrape %d at %d: %w", f.seq, f.offset, s.err)
	}
	d.chained = true
	if f.flags&recDefs != 0 && cap(d.body) > keepBuffer {
		d.body = nil // the next ones need far less
	}
	return true, nil
}

// define reads the definitions of a record. Where one before it is lost, the ids
// that it defined stay empty.
func (d *decoder) define(s *source, reg *series.Registry) {
	at, n := s.uvarint(), s.uvarint()
	if n > uint64(len(s.b)) || at < uint64(len(d.dict)) || at > maxSeries {
		s.fail("definitions out of order")
		return
	}
	var defs definitions
	known := len(d.dict)
	if end := int(at + n); cap(d.dict) < end {
		d.dict = append(make([]defined, 0, end+end/8), d.dict...)
	}
	d.dict = d.dict[:at+n]
	clear(d.dict[known:])
	for i := range int(n) {
		p := defs.read(s, reg, i == 0)
		if s.err != nil {
			return
		}
		d.dict[int(at)+i].series = p
	}
}

func (d *decoder) read(s *source, f *frame) {
	c := &d.scrape
	clear(c.Histograms)
	clear(c.Exemplars)
	c.Time, c.Histograms, c.Exemplars = f.time, c.Histograms[:0], c.Exemplars[:0]
	n := f.n
	if f.flags&recBlob != 0 {
		h := s.uvarint()
		if h > uint64(n) {
			s.fail("too many histograms")
			return
		}
		n -= int(h)
	}
	if f.flags&recOrder != 0 && !d.column(s, n) {
		return
	}
	if len(d.order) != n || len(c.Series) != n {
		s.fail("number of series")
		return
	}
	c.Values = resize(c.Values, n)
	s.values(d.order, d.dict, c.Values)
	if f.flags&recStarts != 0 {
		c.Starts = resize(c.Starts, n)
		s.starts(d.order, d.dict, c.Starts)
	} else {
		c.Starts = c.Starts[:0]
	}
	if f.flags&recBlob != 0 {
		c.Histograms, c.Exemplars = s.blob(d.dict, n, c.Histograms, c.Exemplars)
		if s.err == nil && len(c.Histograms)+n != f.n {
			s.fail("number of histograms")
		}
	} else if len(s.b) > 0 {
		s.fail("bytes behind the last column")
	}
}

// column reads which n series the record has, in which order.
func (d *decoder) column(s *source, n int) bool {
	if n > len(d.dict) {
		s.fail("more samples than series")
		return false
	}
	d.order = s.order(d.order[:0], n, len(d.dict))
	d.scrape.Series = d.scrape.Series[:0]
	for _, id := range d.order {
		if d.dict[id].series == nil {
			s.fail("the definition of a series is lost")
			return false
		}
		d.scrape.Series = append(d.scrape.Series, d.dict[id].series)
	}
	return true
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/8)
	}
	return s[:n]
}
