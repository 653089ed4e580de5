// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Flags of a cursor's slot.
const (
	noteAnswerLost = 1 << iota
	noteV2
	noteV1
)

// slotWriter and slotReader put the fields down in one order.
type slotWriter struct{ b []byte }

func (w *slotWriter) u64(v uint64)    { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *slotWriter) hash(h [16]byte) { w.b = append(w.b, h[:]...) }
func (w *slotWriter) pos(p series.Position) {
	w.u64(p.Scrape)
	w.b = binary.LittleEndian.AppendUint32(w.b, p.Ordinal)
	w.u64(p.Count)
}

func (w *slotWriter) tally(t *series.Tally) {
	w.u64(t.Delivered)
	for i := range maxStoredWhy {
		n := uint64(0)
		if i < len(t.Lost) {
			n = t.Lost[i]
		}
		w.u64(n)
	}
}

type slotReader struct{ b []byte }

func (r *slotReader) u64() uint64 {
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

func (r *slotReader) hash() (h [16]byte) {
	r.b = r.b[copy(h[:], r.b):]
	return h
}

func (r *slotReader) pos() series.Position {
	p := r.place()
	p.Count = r.u64()
	return p
}

// place reads a position without its count.
func (r *slotReader) place() series.Position {
	p := series.Position{Scrape: r.u64(), Ordinal: binary.LittleEndian.Uint32(r.b)}
	r.b = r.b[4:]
	return p
}

func (r *slotReader) tally() (t series.Tally) {
	t.Delivered = r.u64()
	for i := range maxStoredWhy {
		if n := r.u64(); i < len(t.Lost) {
			t.Lost[i] = n
		} else {
			// A reason that a later release knows.
			t.Lost[series.Unreadable] += n
		}
	}
	return t
}

func beginSlot(kind byte, generation uint64) slotWriter {
	w := slotWriter{b: make([]byte, 0, slotSize)}
	w.b = append(w.b, slotMagic...)
	w.b = binary.LittleEndian.AppendUint16(w.b, version)
	w.b = append(w.b, kind, 0)
	w.u64(generation)
	return w
}

func (w *slotWriter) slot() []byte {
	b := w.b[:slotSize]
	clear(b[len(w.b):])
	binary.LittleEndian.PutUint32(b[slotSize-4:], sum(b[:slotSize-4]))
	return b
}

// encodeSpool writes the spool's own slot: what became of the samples of cursors that
// were deleted, and the end of the log, so that one that ends before it is known to
// have lost its end. Earlier releases kept two hashes in front of it.
func encodeSpool(generation uint64, end edge, removed *series.Tally) []byte {
	w := beginSlot(slotSpool, generation)
	w.hash([16]byte{})
	w.hash([16]byte{})
	w.end(end)
	w.tally(removed)
	return w.slot()
}

func (w *slotWriter) end(m edge) {
	w.u64(m.seq)
	w.u64(m.cum)
}

func (r *slotReader) end() edge { return edge{seq: r.u64(), cum: r.u64()} }

// encode writes a cursor together with the end of the log.
func (c *cursorState) encode(generation uint64, end edge) []byte {
	w := beginSlot(slotCursor, generation)
	w.hash(c.nameHash)
	w.hash(c.urlHash)
	w.pos(c.pos)
	w.pos(c.note.Barrier)
	// Earlier releases kept here what was evicted behind a range in flight.
	w.b = append(w.b, make([]byte, 28)...)
	w.u64(c.created)
	w.u64(uint64(c.unclaimed))
	w.end(end)
	w.tally(&c.tally)
	name := c.name[:min(len(c.name), slotName)]
	w.b = append(append(w.b, byte(len(name))), name...)
	w.b = append(w.b, make([]byte, slotName-len(name))...)
	w.u64(uint64(c.idle.Milliseconds()))
	flags := byte(0)
	for flag, set := range map[byte]bool{noteAnswerLost: c.note.AnswerLost, noteV2: c.note.Learned.V2, noteV1: c.note.Learned.V1} {
		if set {
			flags |= flag
		}
	}
	w.b = append(w.b, flags)
	w.u64(uint64(c.note.Learned.FellBack))
	w.u64(uint64(c.note.Learned.MaxBytes))
	return w.slot()
}

// slotName is the room for a name; of a longer one the hash still tells it apart.
const slotName = 96

func (c *cursorState) decode(r *slotReader) (end edge) {
	c.nameHash, c.urlHash = r.hash(), r.hash()
	c.pos = r.pos()
	c.note.Barrier = r.pos()
	resume, lostFrom, lostTo := r.place(), r.u64(), r.u64()
	c.created, c.unclaimed = r.u64(), int64(r.u64())
	end = r.end()
	c.tally = r.tally()
	n := int(r.b[0])
	c.name = string(r.b[1 : 1+min(n, slotName)])
	// What an older release wrote has zeros from here on.
	r.b = r.b[1+slotName:]
	c.idle = time.Duration(r.u64()) * time.Millisecond
	flags := r.b[0]
	r.b = r.b[1:]
	c.note.AnswerLost = flags&noteAnswerLost != 0
	c.note.Learned = Learned{V2: flags&noteV2 != 0, V1: flags&noteV1 != 0, FellBack: int64(r.u64()), MaxBytes: int(uint32(r.u64()))}
	if lostTo > lostFrom && lostFrom >= c.pos.Count {
		// An older release had evicted, and counted, what lay from lostFrom on behind a
		// range in flight. That one is on no disk any more.
		c.tally.Lost[series.EvictedSize] += lostFrom - c.pos.Count
		c.pos = resume
		c.pos.Count = lostTo
	}
	return end
}

// sound reports whether the counts of a cursor agree with one another.
func (c *cursorState) sound() bool {
	return c.created <= c.pos.Count && c.tally.Sum() == c.pos.Count-c.created && c.pos.Scrape > 0
}

// parseSlot checks a slot.
func parseSlot(b []byte) (kind byte, generation uint64, r slotReader, err error) {
	if len(b) < slotSize || string(b[:4]) != slotMagic ||
		sum(b[:slotSize-4]) != binary.LittleEndian.Uint32(b[slotSize-4:]) {
		return 0, 0, r, fmt.Errorf("%w: slot", errCorrupt)
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v > version {
		return 0, 0, r, &newerError{version: v, known: version}
	}
	return b[6], binary.LittleEndian.Uint64(b[8:]), slotReader{b[16 : slotSize-4]}, nil
}

func shortHash(s string) (h [16]byte) {
	if s == "" {
		return h
	}
	sum := sha256.Sum256([]byte(s))
	copy(h[:], sum[:])
	return h
}
