// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// The cursor file is a row of slots of one sector each. Two neighbours hold one
// thing: a change is written to the one that holds the older state, so that a
// write that is torn leaves the other. The first pair is the spool's own, each
// other one a cursor's, or free.
const (
	cursorsName  = "cursors"
	slotSize     = 512
	slotMagic    = "DRWc"
	slotFree     = 0
	slotState    = 1
	slotCursor   = 2
	maxStoredWhy = 24
)

// state is what is kept of the spool as a whole.
type state struct {
	// instance and daemon are hashes of the instance and the engine's daemon_id
	// that the scrapes were written under, zero where not known.
	instance, daemon [16]byte
	// removed is what became of the samples of cursors that were deleted.
	removed series.Tally
	// next and total are the highest that were known when something was written:
	// if the log ends before them, its end is missing.
	next, total uint64
	// aside is for how long the process has run since segments were set aside last; 0
	// while none are.
	aside time.Duration

	// heldUntil holds back the scrapes before it until it is known whether they
	// are another host's; 0 for none. It is not stored.
	heldUntil uint64
}

// slotWriter and slotReader put the fields down in one order.
type slotWriter struct{ b []byte }

func (w *slotWriter) u64(v uint64)    { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *slotWriter) hash(h [16]byte) { w.b = append(w.b, h[:]...) }
func (w *slotWriter) pos(p series.Position) {
	w.u64(p.Scrape)
	w.b = binary.LittleEndian.AppendUint32(w.b, p.Ordinal)
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

func (w *slotWriter) end() []byte {
	b := w.b[:slotSize]
	clear(b[len(w.b):])
	binary.LittleEndian.PutUint32(b[slotSize-4:], sum(b[:slotSize-4]))
	return b
}

func (s *state) encode(generation uint64) []byte {
	w := beginSlot(slotState, generation)
	w.hash(s.instance)
	w.hash(s.daemon)
	w.u64(s.next)
	w.u64(s.total)
	w.tally(&s.removed)
	w.u64(uint64(s.aside.Milliseconds()))
	return w.end()
}

func (s *state) decode(r *slotReader) {
	s.instance, s.daemon = r.hash(), r.hash()
	s.next, s.total = r.u64(), r.u64()
	s.removed = r.tally()
	s.aside = time.Duration(r.u64()) * time.Millisecond
}

// encode writes a cursor together with the end of the log.
func (c *cursorState) encode(generation, next, total uint64) []byte {
	w := beginSlot(slotCursor, generation)
	w.hash(c.nameHash)
	w.hash(c.urlHash)
	w.pos(c.pos)
	w.u64(c.cum)
	sent, sentCum := c.uncertain()
	w.pos(sent)
	w.u64(sentCum)
	w.pos(c.resume)
	w.u64(c.lostFrom)
	w.u64(c.lostTo)
	w.u64(c.created)
	w.u64(uint64(c.unclaimed))
	w.u64(next)
	w.u64(total)
	w.tally(&c.tally)
	name := c.name[:min(len(c.name), slotName)]
	w.b = append(append(w.b, byte(len(name))), name...)
	w.b = w.b[:len(w.b)+slotName-len(name)]
	w.u64(uint64(c.idle.Milliseconds()))
	return w.end()
}

// slotName is the room for a name; of a longer one the hash still tells it apart.
const slotName = 96

func (c *cursorState) decode(r *slotReader) (next, total uint64) {
	c.nameHash, c.urlHash = r.hash(), r.hash()
	c.pos, c.cum = r.pos(), r.u64()
	c.sent, c.sentCum = r.pos(), r.u64()
	c.resume, c.lostFrom, c.lostTo = r.pos(), r.u64(), r.u64()
	if c.lostFrom == c.sentCum {
		c.lostAt = c.sent
	}
	c.created, c.unclaimed = r.u64(), int64(r.u64())
	next, total = r.u64(), r.u64()
	c.tally = r.tally()
	n := int(r.b[0])
	c.name = string(r.b[1 : 1+min(n, slotName)])
	// What an older release wrote has zeros from here on.
	r.b = r.b[1+slotName:]
	c.idle = time.Duration(r.u64()) * time.Millisecond
	return next, total
}

// sound reports whether the counts of a cursor agree with one another.
func (c *cursorState) sound() bool {
	return c.created <= c.cum && c.lostFrom <= c.lostTo && (c.lost() == 0 || c.lostFrom >= c.cum) &&
		c.tally.Sum() == c.cum-c.created+c.lost() && c.pos.Scrape > 0
}

// parseSlot checks a slot.
func parseSlot(b []byte) (kind byte, generation uint64, r slotReader, err error) {
	if len(b) < slotSize || string(b[:4]) != slotMagic ||
		sum(b[:slotSize-4]) != binary.LittleEndian.Uint32(b[slotSize-4:]) {
		return 0, 0, r, fmt.Errorf("%w: slot", errCorrupt)
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v > version {
		return 0, 0, r, &newerError{version: v}
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

// stored is a cursor file's content.
type stored struct {
	state    state
	hasState bool
	cursors  []*Cursor
	// next and total are the highest that any slot names.
	next, total uint64
	// generations are the highest of each pair.
	generations []uint64
	// damaged counts pairs of which neither slot can be read.
	damaged int
}

// parseCursors reads a cursor file. A newer version is an error, damage is not.
func parseCursors(b []byte) (stored, error) {
	var st stored
	for at := 0; at < len(b); at += 2 * slotSize {
		pair := len(st.generations)
		var best slotReader
		var kind byte
		var gen uint64
		found, blank := false, true
		for k := range 2 {
			lo := min(len(b), at+k*slotSize)
			slot := b[lo:min(len(b), lo+slotSize)]
			for _, c := range slot {
				if c != 0 {
					blank = false
					break
				}
			}
			ki, g, r, err := parseSlot(slot)
			var newer *newerError
			if errors.As(err, &newer) {
				return st, err
			}
			if err == nil && (!found || g > gen) {
				best, kind, gen, found = r, ki, g, true
			}
		}
		st.generations = append(st.generations, gen)
		switch {
		case !found && !blank && pair > 0:
			st.damaged++
		case !found:
		case kind == slotState && pair == 0:
			st.state.decode(&best)
			st.hasState = true
			st.next, st.total = max(st.next, st.state.next), max(st.total, st.state.total)
		case kind == slotCursor && pair > 0:
			c := &Cursor{pair: pair}
			next, total := c.decode(&best)
			if !c.sound() {
				st.damaged++
				continue
			}
			c.idleNoted = c.idle
			st.next, st.total = max(st.next, next, c.pos.Scrape), max(st.total, total, c.cum)
			st.cursors = append(st.cursors, c)
		}
	}
	return st, nil
}

// cursorFile is the open file and the slots that are to be written to it.
type cursorFile struct {
	f *os.File
	// generations are the highest that each pair has on disk.
	generations []uint64
	// images are what is being written; they are run's.
	images []slotImage
	// must: a sync is due although nothing is removed.
	must bool
	// dirty: the spool's own pair is to be written.
	dirty bool
	// freed are pairs to be marked free.
	freed []int
}

type slotImage struct {
	pair       int
	generation uint64
	b          []byte
}

func (f *cursorFile) size() int64 { return int64(len(f.generations)) * 2 * slotSize }

func (f *cursorFile) close() {
	if f.f != nil {
		f.f.Close()
	}
}

// collect encodes, with the lock held, what is to be written.
func (s *Spool) collect(all bool) {
	f := &s.file
	f.images = f.images[:0]
	next, total := s.visible+1, s.visibleCum
	add := func(pair int, encode func(generation uint64) []byte) {
		gen := f.generations[pair] + 1
		f.images = append(f.images, slotImage{pair, gen, encode(gen)})
	}
	for _, pair := range f.freed {
		add(pair, func(gen uint64) []byte {
			w := beginSlot(slotFree, gen)
			return w.end()
		})
	}
	for _, c := range s.cursors {
		if c.saved != c.version {
			c.writing = c.version
			add(c.pair, func(gen uint64) []byte { return c.encode(gen, next, total) })
		}
	}
	if all || f.dirty {
		s.state.next, s.state.total = next, total
		add(0, s.state.encode)
	}
}

// write puts the slots in place.
func (f *cursorFile) write(fs *fileOps) error {
	for _, m := range f.images {
		at := int64(m.pair)*2*slotSize + int64(m.generation&1)*slotSize
		if err := fs.writeAt(opCursorsWrite, f.f, m.b, at); err != nil {
			return err
		}
	}
	return nil
}

// written notes that the slots are in place. Without it the next write goes to the
// same ones: one that failed halfway never spoils the other slot of its pair.
func (f *cursorFile) written() {
	for _, m := range f.images {
		f.generations[m.pair] = m.generation
	}
}

func (f *cursorFile) sync(fs *fileOps) error { return fs.datasync(opCursorsSync, f.f) }
