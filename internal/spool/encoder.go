// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// encoder turns scrapes into the records of one segment.
type encoder struct {
	// written are what the segment has of each target, by its number.
	written []written
	// ids are the ids by the series' numbers. An id counts only where the target's
	// dict has the very series there, so that nothing need be cleared.
	ids  []uint32
	hids []uint32
	// body and packed are scratch memory.
	body, packed []byte
}

// written is what a segment has of one target, and what its next record builds upon.
type written struct {
	// dict are the target's series by their ids. The encoder holds them.
	dict []defined
	// order are the ids of the column.
	order  []uint32
	column *column
	// since counts the records since the last full one.
	since int
}

// reset begins another segment.
func (e *encoder) reset(reg *series.Registry) {
	for i := range e.written {
		w := &e.written[i]
		releaseAll(reg, w.dict)
		clear(w.dict)
		w.dict, w.order, w.column, w.since = w.dict[:0], w.order[:0], nil, 0
	}
}

// defined is the number of series that the segment defines.
func (e *encoder) defined() (n int) {
	for i := range e.written {
		n += len(e.written[i].dict)
	}
	return n
}

// releaseAll gives up the series of a segment.
func releaseAll(reg *series.Registry, dict []defined) {
	for i := range dict {
		if dict[i].series != nil {
			reg.Release([]*series.Series{dict[i].series})
		}
	}
}

// id gives the series' number among the target's in the segment, a new one if need be.
func (e *encoder) id(w *written, s *series.Series, reg *series.Registry) uint32 {
	at := s.Ref.Index()
	if at >= len(e.ids) {
		e.ids = append(e.ids, make([]uint32, at+1-len(e.ids)+at/4)...)
	}
	if id := e.ids[at]; int(id) < len(w.dict) && w.dict[id].series == s {
		return id
	}
	id := uint32(len(w.dict))
	e.ids[at] = id
	w.dict = append(w.dict, defined{series: s})
	reg.Hold([]*series.Series{s})
	return id
}

// append writes the scrape as the record that begins at that offset of the segment.
func (e *encoder) append(dst []byte, first uint64, offset int64, c *entry, reg *series.Registry) ([]byte, error) {
	for int(c.Target) >= len(e.written) {
		e.written = append(e.written, written{})
	}
	w := &e.written[c.Target]
	flags := byte(0)
	if w.since == 0 {
		flags |= recFull | recOrder
		for i := range w.dict {
			w.dict[i].value, w.dict[i].start = 0, 0
		}
	}
	known := len(w.dict)
	if w.column != c.column {
		flags |= recOrder
		w.column = c.column
		w.order = w.order[:0]
		for _, s := range c.Series {
			w.order = append(w.order, e.id(w, s, reg))
		}
	}
	e.hids = e.hids[:0]
	for i := range c.Histograms {
		e.hids = append(e.hids, e.id(w, c.Histograms[i].Series, reg))
	}

	b := e.body[:0]
	if fresh := w.dict[known:]; len(fresh) > 0 {
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
		b = appendOrder(b, w.order)
	}
	b = appendValues(b, w.order, c.Values, w.dict)
	if len(c.Starts) > 0 {
		flags |= recStarts
		b = appendStarts(b, w.order, c.Starts, w.dict)
	}
	if blob {
		var err error
		if b, err = appendBlob(b, c.Time, c.Histograms, e.hids, c.Exemplars); err != nil {
			return dst, err
		}
	}
	f := frame{offset: offset, flags: flags, target: c.Target, seq: c.seq, cum: c.cum, n: c.Len(), time: c.Time, body: b}
	dst, e.packed = appendFrame(dst, first, &f, e.packed)
	e.body = b
	if w.since++; w.since == fullEvery {
		w.since = 0
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
