// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// encoder turns scrapes into the records of one segment.
type encoder struct {
	// dict are the segment's series by their ids. ids finds them; it is made when a
	// scrape has another column than the one before, and dropped with the next one
	// that does not.
	dict []*series.Series
	ids  map[*series.Series]uint32
	last []float64
	// starts is empty until a series has a start timestamp.
	starts []int64
	order  []uint32
	// column is the series column that order stands for.
	column []*series.Series
	since  int
	hids   []uint32
	body   []byte
	packed []byte
}

func (e *encoder) reset() {
	e.dict, e.ids = nil, nil
	e.last, e.starts, e.order = e.last[:0], e.starts[:0], e.order[:0]
	e.column, e.since = nil, 0
}

// id gives the series' number in the segment, a new one if need be.
func (e *encoder) id(s *series.Series) uint32 {
	if e.ids == nil {
		e.ids = make(map[*series.Series]uint32, len(e.dict))
		for i, known := range e.dict {
			e.ids[known] = uint32(i)
		}
	}
	id, ok := e.ids[s]
	if !ok {
		id = uint32(len(e.dict))
		e.ids[s] = id
		e.dict = append(e.dict, s)
	}
	return id
}

// number brings order up to another column.
func (e *encoder) number(column []*series.Series) {
	e.order = e.order[:0]
	if len(e.dict) == 0 {
		// The segment's first record defines its column; what comes later is
		// appended to a copy.
		e.dict = column[:len(column):len(column)]
		for i := range column {
			e.order = append(e.order, uint32(i))
		}
		return
	}
	for _, s := range column {
		e.order = append(e.order, e.id(s))
	}
}

// append writes the scrape as the record that begins at that offset of the segment.
func (e *encoder) append(dst []byte, first uint64, offset int64, c *entry) ([]byte, error) {
	flags := byte(0)
	if e.since == 0 {
		flags |= recFull | recOrder
		clear(e.last)
		clear(e.starts)
	}
	known := len(e.dict)
	if !sameColumn(e.column, c.series) {
		flags |= recOrder
		e.number(c.series)
	} else if len(c.histograms) == 0 {
		e.ids = nil
	}
	e.column = c.series
	e.hids = e.hids[:0]
	for i := range c.histograms {
		e.hids = append(e.hids, e.id(c.histograms[i].Series))
	}

	for len(e.last) < len(e.dict) {
		e.last = append(e.last, 0)
	}

	b := e.body[:0]
	if fresh := e.dict[known:]; len(fresh) > 0 {
		flags |= recDefs
		b = binary.AppendUvarint(b, uint64(known))
		b = binary.AppendUvarint(b, uint64(len(fresh)))
		var prev *series.Series
		for _, s := range fresh {
			b = appendSeries(b, s, prev)
			prev = s
		}
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
		for len(e.starts) < len(e.dict) {
			e.starts = append(e.starts, 0)
		}
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
