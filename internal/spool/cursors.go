// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
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
	slotSpool    = 1
	slotCursor   = 2
	maxStoredWhy = 24
	// noteEvery is how much of a counted time a crash may lose.
	noteEvery = 10 * time.Minute
)

// stored is a cursor file's content.
type stored struct {
	// removed is what became of the samples of cursors that were deleted.
	removed series.Tally
	cursors []storedCursor
	// end is the highest that any slot names; its time is not known.
	end edge
	// generations are the highest of each pair.
	generations []uint64
	// damaged counts pairs of which neither slot can be read.
	damaged int
}

type storedCursor struct {
	cursorState
	pair int
}

// parseCursors reads a cursor file. A newer version is an error, damage is not.
func parseCursors(b []byte) (stored, error) {
	var st stored
	for at := 0; at < len(b); at += 2 * slotSize {
		pair := len(st.generations)
		best, blank, err := bestSlot(b[at:])
		if err != nil {
			return st, err
		}
		st.generations = append(st.generations, best.generation)
		switch {
		case best.b == nil && !blank && pair > 0:
			st.damaged++
		case best.b == nil:
		case best.kind == slotSpool && pair == 0:
			best.hash()
			best.hash()
			st.reached(best.end())
			st.removed = best.tally()
		case best.kind == slotCursor && pair > 0:
			c := storedCursor{pair: pair}
			end := c.decode(&best.slotReader)
			if !c.sound() {
				st.damaged++
				continue
			}
			st.reached(end)
			st.reached(edge{seq: c.pos.Scrape, cum: c.pos.Count})
			st.cursors = append(st.cursors, c)
		}
	}
	return st, nil
}

func (st *stored) reached(m edge) {
	st.end.seq, st.end.cum = max(st.end.seq, m.seq), max(st.end.cum, m.cum)
}

// slot is one that could be read; b is nil for none.
type slot struct {
	slotReader
	kind       byte
	generation uint64
}

// bestSlot is the newest good one of the pair that b begins with; blank says that
// both are empty.
func bestSlot(b []byte) (best slot, blank bool, err error) {
	blank = true
	for k := range 2 {
		one := b[min(len(b), k*slotSize):min(len(b), (k+1)*slotSize)]
		for _, c := range one {
			blank = blank && c == 0
		}
		kind, generation, r, err := parseSlot(one)
		var newer *newerError
		if errors.As(err, &newer) {
			return best, blank, err
		}
		if err == nil && (best.b == nil || generation > best.generation) {
			best = slot{r, kind, generation}
		}
	}
	return best, blank, nil
}

// cursorFile is the file with the slots. The table's lock guards must and freed; the
// rest belongs to the goroutine that owns the disk.
type cursorFile struct {
	f *os.File
	// generations are the highest that each pair has on disk.
	generations []uint64
	// must: a sync is due although nothing is removed.
	must bool
	// freed are pairs to be marked free.
	freed []int
}

// slotImage is a slot that is to be written; c is whose it is, as it was at version.
type slotImage struct {
	pair       int
	generation uint64
	b          []byte
	c          *Cursor
	version    uint64
}

func (f *cursorFile) size() int64 { return int64(len(f.generations)) * 2 * slotSize }

func (f *cursorFile) close() {
	if f.f != nil {
		f.f.Close()
	}
}

func (f *cursorFile) room(pair int) {
	for len(f.generations) <= pair {
		f.generations = append(f.generations, 0)
	}
}

// collect encodes, with the lock held, what has changed; with all, the spool's own slot too.
func (t *table) collect(all bool, end edge) []slotImage {
	var images []slotImage
	add := func(pair int) *slotImage {
		images = append(images, slotImage{pair: pair, generation: t.file.generations[pair] + 1})
		return &images[len(images)-1]
	}
	for _, pair := range t.file.freed {
		m := add(pair)
		w := beginSlot(slotFree, m.generation)
		m.b = w.slot()
	}
	for _, c := range t.cursors {
		if c.saved != c.version {
			m := add(c.pair)
			m.b, m.c, m.version = c.state.encode(m.generation, end), c, c.version
		}
	}
	if all || len(t.file.freed) > 0 {
		m := add(0)
		m.b = encodeSpool(m.generation, end, &t.removed)
	}
	return images
}

// wrote notes, with the lock held, that the slots were handed to the disk, and whether they are
// in place. If not, the next ones go to the same places: a write that failed halfway
// never spoils the other slot of its pair.
func (t *table) wrote(images []slotImage, ok bool) {
	for _, m := range images {
		if ok {
			t.file.generations[m.pair] = m.generation
		}
		if m.c == nil {
			continue
		}
		m.c.tried = max(m.c.tried, m.version)
		if ok {
			m.c.saved = m.version
		}
	}
}

// write puts the slots in place.
func (f *cursorFile) write(fs *fileOps, images []slotImage) error {
	for _, m := range images {
		at := int64(m.pair)*2*slotSize + int64(m.generation&1)*slotSize
		if err := fs.writeAt(opCursorsWrite, f.f, m.b, at); err != nil {
			return err
		}
	}
	return nil
}

func (f *cursorFile) sync(fs *fileOps) error { return fs.datasync(opCursorsSync, f.f) }
