// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// encoder turns scrapes into the records of one segment.
type encoder struct {
	// dict are the segment's series by their ids. The encoder holds them.
	dict []defined
	// ids are the ids by the series' numbers. An id counts only where dict has the
	// very series there, so that nothing need be cleared.
	ids []uint32
	// order are the ids of the column.
	order  []uint32
	column *column
	// since counts the records since the last full one.
	since int
	hids  []uint32
	// body and packed are scratch memory.
	body, packed []byte
}

// reset begins another segment.
func (e *encoder) reset(reg *series.Registry) {
	releaseAll(reg, e.dict)
	clear(e.dict)
	e.dict, e.order, e.column, e.since = e.dict[:0], e.order[:0], nil, 0
}

// releaseAll gives up the series of a segment.
func releaseAll(reg *series.Registry, dict []defined) {
	for i := range dict {
		if dict[i].series != nil {
			reg.Release([]*series.Series{dict[i].series})
		}
	}
}

// id gives the series' number in the segment, a new one if need be.
func (e *encoder) id(s *series.Series, reg *series.Registry) uint32 {
	at := s.Ref.Index()
	if at >= len(e.ids) {
		e.ids = append(e.ids, make([]uint32, at+1-len(e.ids)+at/4)...)
	}
	if id := e.ids[at]; int(id) < len(e.dict) && e.dict[id].series == s {
		return id
	}
	id := uint32(len(e.dict))
	e.ids[at] = id
	e.dict = append(e.dict, defined{series: s})
	reg.Hold([]*series.Series{s})
	return id
}

// append writes the scrape as the record that begins at that offset of the segment.
func (e *encoder) append(dst []byte, first uint64, offset int64, c *entry, reg *series.Registry) ([]byte, error) {
	flags := byte(0)
	if e.since == 0 {
		flags |= recFull | recOrder
		for i := range e.dict {
			e.dict[i].value, e.dict[i].start = 0, 0
		}
	}
	known := len(e.dict)
	if e.column != c.column {
		flags |= recOrder
		e.column = c.column
		e.order = e.order[:0]
		for _, s := range c.Series {
			e.order = append(e.order, e.id(s, reg))
		}
	}
	e.hids = e.hids[:0]
	for i := range c.Histograms {
		e.hids = append(e.hids, e.id(c.Histograms[i].Series, reg))
	}

	b := e.body[:0]
	if fresh := e.dict[known:]; len(fresh) > 0 {
		flags |= recDefs
		b = binary.AppendUvarint(b, uint64(known))
		b = binary.AppendUvarint(b, uint64(len(fresh)))
		var prev *series.Series
		for i := range fresh {
			b = appendSeries(b, fresh[i].series, prev)
			prev = fresh[i].series
		}
	}
	blob := len(c.Histograms)+len(c.Exemplars) > 0
	if blob {
		flags |= recBlob
		b = binary.AppendUvarint(b, uint64(len(c.Histograms)))
	}
	if flags&recOrder != 0 {
		b = appendOrder(b, e.order)
	}
	b = appendValues(b, e.order, c.Values, e.dict)
	if len(c.Starts) > 0 {
		flags |= recStarts
		b = appendStarts(b, e.order, c.Starts, e.dict)
	}
	if blob {
		var err error
		if b, err = appendBlob(b, c.Time, c.Histograms, e.hids, c.Exemplars); err != nil {
			return dst, err
		}
	}
	f := frame{offset: offset, flags: flags, seq: c.seq, cum: c.cum, n: c.Len(), time: c.Time, body: b}
	dst, e.packed = appendFrame(dst, first, &f, e.packed)
	e.body = b
	if e.since++; e.since == fullEvery {
		e.since = 0
	}
	return dst, nil
}

// shrink lets go of the buffers where one scrape made them large.
func (e *encoder) shrink() {
	if cap(e.body) > keepBuffer {
		e.body = nil
	}
	if cap(e.packed) > keepBuffer {
		e.packed = nil
	}
}

// keepBuffer is the size up to which a buffer is kept from scrape to scrape.
const keepBuffer = 16 << 10
