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
	// known is what the segment has of each target, by its number.
	known []known
	body  []byte
}

// known is what was read of one target, and what its next record builds upon.
type known struct {
	// dict are the target's series by their ids, nil where the definition is lost.
	// The decoder holds them.
	dict  []defined
	order []uint32
	// series are those of the order.
	series []*series.Series
	// chained: no record since the last full one is missing.
	chained bool
}

// reset leaves the segment. Its series are appended to left, and the caller's to give up.
func (d *decoder) reset(left []defined) []defined {
	d.scrape.Series = nil
	d.scrape.Reset()
	for i := range d.known {
		k := &d.known[i]
		left = append(left, k.dict...)
		clear(k.dict)
		clear(k.series)
		k.dict, k.order, k.series, k.chained = k.dict[:0], k.order[:0], k.series[:0], false
		if cap(k.dict) > keepBuffer/8 {
			*k = known{}
			d.scrape, d.body = series.Scrape{}, nil
		}
	}
	return left
}

// missed says that records are missing, nobody knows of which target.
func (d *decoder) missed() {
	for i := range d.known {
		d.known[i].chained = false
	}
}

// decode reads one record into scrape. It reports false, without an error, for a
// good record that builds on one that is missing. After an error the records up to
// the next full one do not decode.
func (d *decoder) decode(f *frame, reg *series.Registry) (ok bool, err error) {
	for int(f.target) >= len(d.known) {
		d.known = append(d.known, known{})
	}
	k := &d.known[f.target]
	full := f.flags&recFull != 0
	if !full && !k.chained && f.flags&recDefs == 0 {
		return false, nil
	}
	var body []byte
	if body, d.body, err = f.unpack(d.body); err != nil {
		k.chained = false
		return false, err
	}
	s := source{b: body}
	if f.flags&recDefs != 0 {
		d.define(k, &s, reg)
	}
	if s.err == nil && !full && !k.chained {
		return false, nil
	}
	if full {
		for i := range k.dict {
			k.dict[i].value, k.dict[i].start = 0, 0
		}
	}
	d.read(k, &s, f)
	if s.err != nil {
		k.chained = false
		return false, fmt.Errorf("record of scrape %d at %d: %w", f.seq, f.offset, s.err)
	}
	k.chained = true
	if f.flags&recDefs != 0 && cap(d.body) > keepBuffer {
		d.body = nil // the next ones need far less
	}
	return true, nil
}

// define reads the definitions of a record. Where one before it is lost, the ids
// that it defined stay empty.
func (d *decoder) define(k *known, s *source, reg *series.Registry) {
	at, n := s.uvarint(), s.uvarint()
	most := uint64(maxSeries)
	for i := range d.known {
		if o := &d.known[i]; o != k {
			most = less(most, uint64(len(o.dict)))
		}
	}
	if n > uint64(len(s.b)) || at < uint64(len(k.dict)) || at > most {
		s.fail("definitions out of order")
		return
	}
	var defs definitions
	before := len(k.dict)
	if end := int(at + n); cap(k.dict) < end {
		k.dict = append(make([]defined, 0, end+end/8), k.dict...)
	}
	k.dict = k.dict[:at+n]
	clear(k.dict[before:])
	for i := range int(n) {
		p := defs.read(s, reg, i == 0)
		if s.err != nil {
			return
		}
		k.dict[int(at)+i].series = p
	}
}

func (d *decoder) read(k *known, s *source, f *frame) {
	c := &d.scrape
	clear(c.Histograms)
	clear(c.Exemplars)
	c.Target, c.Time, c.Histograms, c.Exemplars = f.target, f.time, c.Histograms[:0], c.Exemplars[:0]
	n := f.n
	if f.flags&recBlob != 0 {
		h := s.uvarint()
		if h > uint64(n) {
			s.fail("too many histograms")
			return
		}
		n -= int(h)
	}
	if f.flags&recOrder != 0 && !k.column(s, n) {
		return
	}
	if len(k.order) != n || len(k.series) != n {
		s.fail("number of series")
		return
	}
	c.Series, c.Values = k.series, resize(c.Values, n)
	s.values(k.order, k.dict, c.Values)
	if f.flags&recStarts != 0 {
		c.Starts = resize(c.Starts, n)
		s.starts(k.order, k.dict, c.Starts)
	} else {
		c.Starts = c.Starts[:0]
	}
	if f.flags&recBlob != 0 {
		c.Histograms, c.Exemplars = s.blob(k.dict, n, c.Histograms, c.Exemplars)
		if s.err == nil && len(c.Histograms)+n != f.n {
			s.fail("number of histograms")
		}
	} else if len(s.b) > 0 {
		s.fail("bytes behind the last column")
	}
}

// column reads which n series the record has, in which order.
func (k *known) column(s *source, n int) bool {
	if n > len(k.dict) {
		s.fail("more samples than series")
		return false
	}
	k.order = s.order(k.order[:0], n, len(k.dict))
	k.series = k.series[:0]
	for _, id := range k.order {
		if k.dict[id].series == nil {
			s.fail("the definition of a series is lost")
			return false
		}
		k.series = append(k.series, k.dict[id].series)
	}
	return true
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/8)
	}
	return s[:n]
}
