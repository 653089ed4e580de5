// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// encoder turns scrapes into the records of one segment.
type encoder struct {
	ids    map[*series.Series]uint32
	last   []float64
	starts []int64
	order  []uint32
	// column is the series column that order stands for.
	column []*series.Series
	since  int
	hids   []uint32
	fresh  []*series.Series
	body   []byte
	packed []byte
}

func (e *encoder) reset() {
	if e.ids == nil {
		e.ids = map[*series.Series]uint32{}
	}
	clear(e.ids)
	e.last, e.starts, e.order = e.last[:0], e.starts[:0], e.order[:0]
	e.column, e.since = nil, 0
}

// id gives the series' number in the segment and notes it if it is new.
func (e *encoder) id(s *series.Series) uint32 {
	id, ok := e.ids[s]
	if !ok {
		id = uint32(len(e.ids))
		e.ids[s] = id
		e.fresh = append(e.fresh, s)
		e.last, e.starts = append(e.last, 0), append(e.starts, 0)
	}
	return id
}

// append writes the scrape as the record that begins at that offset of the segment.
func (e *encoder) append(dst []byte, first uint64, offset int64, c *entry) ([]byte, error) {
	flags := byte(0)
	if e.since == 0 {
		flags |= recFull | recOrder
		clear(e.last)
		clear(e.starts)
	}
	e.fresh = e.fresh[:0]
	if !sameColumn(e.column, c.series) {
		flags |= recOrder
		e.order = e.order[:0]
		for _, s := range c.series {
			e.order = append(e.order, e.id(s))
		}
	}
	e.column = c.series
	e.hids = e.hids[:0]
	for i := range c.histograms {
		e.hids = append(e.hids, e.id(c.histograms[i].Series))
	}

	b := e.body[:0]
	if len(e.fresh) > 0 {
		flags |= recDefs
		b = binary.AppendUvarint(b, uint64(len(e.ids)-len(e.fresh)))
		b = binary.AppendUvarint(b, uint64(len(e.fresh)))
		var prev *series.Series
		for _, s := range e.fresh {
			b = appendSeries(b, s, prev)
			prev = s
		}
		clear(e.fresh)
	}
	blob := len(c.histograms)+len(c.exemplars) > 0
	if blob {
		flags |= recBlob
		b = binary.AppendUvarint(b, uint64(len(c.histograms)))
	}
	if flags&recOrder != 0 {
		b = appendOrder(b, e.order)
	}
	b = appendValues(b, e.order, c.values, e.last)
	if len(c.starts) > 0 {
		flags |= recStarts
		b = appendStarts(b, e.order, c.starts, e.starts)
	}
	if blob {
		var err error
		if b, err = appendBlob(b, c.time, c.histograms, e.hids, c.exemplars); err != nil {
			return dst, err
		}
	}
	f := frame{offset: offset, flags: flags, seq: c.seq, cum: c.cum, n: c.len(), time: c.time, body: b}
	dst, e.packed = appendFrame(dst, first, &f, e.packed)
	e.body = b
	if e.since++; e.since == fullEvery {
		e.since = 0
	}
	return dst, nil
}

// sameColumn is true for one and the same column, which consecutive scrapes of the
// same series share.
func sameColumn(a, b []*series.Series) bool {
	return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0]
}
