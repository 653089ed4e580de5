// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sirupsen/logrus"
)

// view is a segment as a reader may see it: up to end bytes, and the scrapes
// before limit. What stands in it from limit on is in a later segment too, or was
// never acknowledged as written. cum is the count in front of limit; with loose it
// is a guess.
type segmentView struct {
	seg        *segment
	path       string
	end        int64
	limit, cum uint64
	loose      bool
}

// within is a count in the segment, and no more than the one in front of what
// follows: a segment whose end could not be read at a start may hold samples that
// the books know nothing of. They are sent, and not counted.
func (v *segmentView) within(cum uint64) uint64 {
	if v.loose {
		return cum
	}
	return min(cum, v.cum)
}

// reader reads the segments behind one cursor: at most one file, one dictionary
// and one scrape at a time.
type reader struct {
	s   *Spool
	f   *os.File
	seg *segment
	sc  scanner
	dec decoder
	// have: dec holds the scrape of cur. passed is the last sequence number that
	// went by.
	have   bool
	cur    frame
	passed uint64
}

// seek brings the reader to the first readable scrape at or behind seq; ok is
// false if the segment has none.
func (r *reader) seek(v *segmentView, seq uint64) (ok bool, err error) {
	if r.f == nil || r.seg != v.seg || r.passed >= seq && !(r.have && r.cur.seq >= seq) || r.have && r.cur.seq > seq {
		if err := r.open(v); err != nil {
			return false, err
		}
	}
	r.sc.end = v.end
	for !r.have || r.cur.seq < seq {
		r.have = false
		f, damage, err := r.sc.next()
		if damage > 0 {
			r.dec.chained = false
			r.s.damaged(r.seg, r.sc.off-int64(f.size)-damage, damage, nil)
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			r.close()
			return false, err
		}
		if f.seq >= v.limit {
			r.sc.off = f.offset
			return false, nil
		}
		r.passed = f.seq
		r.have, err = r.dec.decode(&f, &r.s.intern)
		if err != nil {
			r.s.damaged(r.seg, f.offset, int64(f.size), err)
		}
		// The body points into the scanner's buffer.
		f.body = nil
		r.cur = f
	}
	return true, nil
}

func (r *reader) open(v *segmentView) error {
	r.close()
	f, err := r.s.fs.open(opSegmentOpen, v.path, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("read the spool: %w", err)
	}
	if r.sc.fs == nil {
		r.sc.fs = &r.s.fs
	}
	r.f, r.seg = f, v.seg
	r.sc.reset(f, v.seg.first, v.end)
	return nil
}

// close lets go of the file and of what is known of its series.
func (r *reader) close() {
	if r.f != nil {
		r.f.Close()
	}
	r.f, r.seg, r.have, r.passed = nil, nil, false, 0
	r.dec.reset()
	const keep = 16 << 10
	if cap(r.sc.buf) > keep {
		r.sc.buf, r.sc.bufOff = nil, 0
	}
	if cap(r.dec.body) > keep {
		r.dec.body = nil
	}
	if cap(r.dec.dict) > keep/8 {
		r.dec = decoder{}
	}
}

// dropReader closes the reader's file, with the spool's lock and c.reading held, if nobody
// will come back for it: its segment is no longer the spool's, and as long as it is
// open the disk keeps it, or no endpoint claims the cursor.
func (c *Cursor) dropReader() {
	if c.reader.f != nil && (!c.claimed || !c.s.has(c.reader.seg)) {
		c.reader.close()
	}
}

// dropReaders makes every reader let go of what is gone. One that reads just now does so at
// its end.
func (s *Spool) dropReaders() {
	for _, c := range s.cursors {
		if c.reading.TryLock() {
			c.dropReader()
			c.reading.Unlock()
		}
	}
}

// damaged logs damage, once for each place.
func (s *Spool) damaged(g *segment, offset, size int64, why error) {
	s.mu.Lock()
	seen := offset < g.noted
	g.noted = max(g.noted, offset+size)
	s.mu.Unlock()
	if seen {
		return
	}
	l := s.log.WithFields(logrus.Fields{"path": g.path, "offset": offset, "bytes": size})
	if why != nil {
		l = l.WithError(why)
	}
	l.Warn("the spool is damaged; reading goes on at the next full record")
}

// place says where a scrape is: in the ring, in a segment, or, if there is none
// with that number, where the next one is.
type place struct {
	entry *entry
	view  segmentView
	// skip: nothing is there; it goes on with scrape next, before which cum samples
	// were appended.
	skip      bool
	next, cum uint64
}

// locate finds the scrape; ok is false if it may not be read yet.
func (s *Spool) locate(seq uint64) (p place, ok bool) {
	if seq > s.visible || seq < s.state.heldUntil {
		return place{}, false
	}
	if e := s.ring.get(seq); e != nil {
		return place{entry: e}, true
	}
	lo, hi := 0, len(s.segs)
	for lo < hi {
		if m := (lo + hi) / 2; s.segs[m].first <= seq {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo > 0 {
		v := s.view(lo - 1)
		if n := s.ring.entries; len(n) > 0 && n[0].seq > seq && n[0].seq < v.limit {
			v.limit, v.cum = n[0].seq, n[0].cum
		}
		if seq < v.limit {
			return place{view: v}, true
		}
	}
	switch {
	case lo < len(s.segs):
		return place{skip: true, next: s.segs[lo].first, cum: s.segs[lo].cum}, true
	case len(s.ring.entries) > 0 && s.ring.entries[0].seq > seq:
		return place{skip: true, next: s.ring.entries[0].seq, cum: s.ring.entries[0].cum}, true
	}
	return place{skip: true, next: s.next, cum: s.total}, true
}

func (s *Spool) view(i int) segmentView {
	g := s.segs[i]
	v := segmentView{seg: g, path: g.path, end: g.size, limit: s.durable + 1, cum: s.durableCum}
	if i+1 < len(s.segs) {
		v.limit, v.cum, v.loose = s.segs[i+1].first, s.segs[i+1].cum, s.segs[i+1].guessed
	}
	return v
}

// find looks on disk for the first readable scrape at or behind seq. It is called
// with the lock held, and gives it up meanwhile.
func (s *Spool) find(seq uint64) (mark, error) {
	for range len(s.segs) + 3 {
		p, ok := s.locate(seq)
		switch {
		case !ok:
			return mark{}, fmt.Errorf("there is no scrape %d", seq)
		case p.entry != nil:
			return mark{seq: p.entry.seq, cum: p.entry.cum, time: p.entry.time}, nil
		case p.skip && p.next >= s.next:
			return mark{seq: s.next, cum: s.total, time: s.lastTime}, nil
		case p.skip:
			seq = p.next
			continue
		}
		s.mu.Unlock()
		m, found, err := s.findIn(&p.view, seq)
		s.mu.Lock()
		if err != nil {
			return mark{}, err
		}
		if found {
			return m, nil
		}
		seq = p.view.limit
	}
	return mark{}, fmt.Errorf("scrape %d: %w", seq, errCorrupt)
}

func (s *Spool) findIn(v *segmentView, seq uint64) (mark, bool, error) {
	f, err := s.fs.open(opSegmentOpen, v.path, os.O_RDONLY)
	if err != nil {
		return mark{}, false, err
	}
	defer f.Close()
	sc := scanner{fs: &s.fs}
	sc.reset(f, v.seg.first, v.end)
	for {
		r, _, err := sc.next()
		switch {
		case errors.Is(err, io.EOF):
			return mark{}, false, nil
		case err != nil:
			return mark{}, false, err
		case r.seq >= v.limit:
			return mark{}, false, nil
		case r.seq >= seq:
			return mark{seq: r.seq, cum: v.within(r.cum), end: v.within(r.cum + uint64(r.n)), time: r.time}, true, nil
		}
	}
}
