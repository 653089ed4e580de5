// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"os"
	"slices"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// maxGaps bounds what is remembered of ranges that were lost.
const maxGaps = 32

// pins reports whether segments are kept for the cursor. Until Claim was called
// each stored cursor may still be claimed.
func (s *Spool) pins(c *Cursor) bool { return c.claimed || !s.claimed }

// makeRoom decides, with the lock held, which segments go: those that every
// endpoint has acknowledged, then the oldest ones past a limit.
//
// The newest segment stays in any case.
func (s *Spool) makeRoom() {
	s.clock.look()
	if s.claimed {
		s.expire()
	}
	// Those that the disk refused to read stay between the others.
	for i := 0; i+1 < len(s.segs) && s.acknowledged(i); {
		if s.segs[i].refused {
			i++
			continue
		}
		s.discard(i, 1)
	}
	// On a full file system the oldest segment makes room before the ring must drop
	// a newer scrape; but if that did not help, somebody else takes all there is.
	if s.full && !s.yielded && s.ring.bytes > s.o.RingBytes/2 && len(s.segs) > 1 {
		s.yielded = true
		s.evict(1, series.EvictedSize)
	}
	for len(s.segs) > 1 && s.aged() {
		s.evict(1, series.EvictedAge)
	}
	if s.o.MaxBytes > 0 {
		if len(s.aside) > 0 && s.bytes() > s.o.MaxBytes {
			s.dropAside()
		}
		for len(s.segs) > 1 && s.bytes() > s.o.MaxBytes {
			s.evict(1, series.EvictedSize)
		}
	}
}

// room does the same after a write, and reports whether there is something to remove.
func (s *Spool) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom()
	return len(s.trash) > 0
}

func (s *Spool) bytes() int64 {
	n := s.file.size() + s.asideBytes
	for _, g := range s.segs {
		n += g.size
	}
	return n
}

// aged reports whether every scrape of the oldest segment is older than MaxAge.
func (s *Spool) aged() bool {
	if s.o.MaxAge <= 0 {
		return false
	}
	now, ok := s.clock.wall()
	if !ok {
		return false
	}
	// A segment spans less than an hour, whatever the clock did. Where its own time is
	// not known, it is older than the one behind it.
	newest := s.segs[0].time + segmentAge.Milliseconds()
	if s.segs[0].guessed {
		newest = max(newest, s.segs[1].time+segmentAge.Milliseconds())
	}
	return newest < now-s.o.MaxAge.Milliseconds()
}

// acknowledged reports whether no endpoint needs that segment, which is not the
// newest.
func (s *Spool) acknowledged(i int) bool {
	end := s.segs[i+1].first
	for _, c := range s.cursors {
		if s.pins(c) && c.position().Scrape < end {
			return false
		}
	}
	return true
}

// discard takes n segments out of the spool; they are removed after the cursors were
// synced: either every endpoint has acknowledged them, or what was lost with them is
// counted.
func (s *Spool) discard(i, n int) {
	for _, g := range s.segs[i : i+n] {
		s.trash = append(s.trash, rubbish{path: g.path})
	}
	s.segs = slices.Delete(s.segs, i, i+n)
	s.dropReaders()
}

// evict discards segments that are still needed, and counts what is lost.
func (s *Spool) evict(n int, why series.Loss) {
	to, cum := series.Position{Scrape: s.next}, s.total
	if n < len(s.segs) {
		to, cum = series.Position{Scrape: s.segs[n].first}, s.segs[n].cum
	} else if len(s.ring.entries) > 0 && s.ring.entries[0].seq > s.durable {
		to, cum = series.Position{Scrape: s.ring.entries[0].seq}, s.ring.entries[0].cum
	}
	if n == len(s.segs) || !s.acknowledged(n-1) {
		s.log.WithFields(logrus.Fields{"reason": why.String(), "path": s.segs[0].path, "samples": less(cum, s.segs[0].cum)}).
			Warn("the oldest scrapes are dropped before every endpoint had them")
	}
	s.noteGap(s.segs[0].cum, cum, why)
	s.discard(0, n)
	for _, c := range s.cursors {
		if s.pins(c) {
			c.lose(to, cum, why)
		}
	}
	s.changed()
}

// rubbish is a file to be removed, or to be renamed to that name.
type rubbish struct{ path, to string }

// noteGap remembers why a range cannot be read. Only the newest are kept; what is
// older counts as unreadable.
func (s *Spool) noteGap(from, to uint64, why series.Loss) {
	if n := len(s.gaps); n > 0 && s.gaps[n-1].to == from && s.gaps[n-1].why == why {
		s.gaps[n-1].to = to
		return
	}
	if len(s.gaps) == maxGaps {
		s.gaps = append(s.gaps[:0], s.gaps[1:]...)
	}
	s.gaps = append(s.gaps, gap{from, to, why})
}

// overflow drops the oldest scrapes of the ring where it is full.
func (s *Spool) overflow() {
	for len(s.ring.entries) > 1 && s.ring.bytes > s.o.RingBytes {
		e := s.ring.entries[0]
		if e.seq > s.durable || s.dir == "" {
			end := e.cum + uint64(e.len())
			s.noteGap(e.cum, end, series.RingFull)
			for _, c := range s.cursors {
				if s.pins(c) && c.front() >= e.cum {
					c.lose(series.Position{Scrape: e.seq + 1}, end, series.RingFull)
				}
			}
			if e.seq > s.visible {
				s.visible, s.visibleCum = e.seq, end
			}
			if !s.overflowing {
				s.overflowing = true
				s.log.Warn("the memory ring is full; its oldest scrapes are dropped")
			}
		}
		s.ring.drop(1)
	}
}

// front is the count from which on samples may be lost: those in flight and those
// that are lost already are not.
func (c *Cursor) front() uint64 { return max(c.cum, c.sentCum, c.lostTo) }

func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// tidy writes the cursors that changed and removes the segments that went. Before
// a segment is removed the cursors are synced, so that no power cut brings back a
// cursor that points into it.
func (s *Spool) tidy(closing bool) error {
	s.mu.Lock()
	for _, c := range s.cursors {
		if d := c.idle - c.idleNoted; d >= noteEvery || closing && d != 0 {
			c.idleNoted = c.idle
			c.version++
		}
	}
	trash := s.trash
	s.trash = nil
	must := closing || s.file.must
	freed := len(s.file.freed)
	s.collect(must || len(trash) > 0)
	s.mu.Unlock()

	err := s.file.write(&s.fs)
	written := err == nil
	if err == nil && (must || len(trash) > 0) {
		err = s.file.sync(&s.fs)
	}
	var kept []rubbish
	full := noRoom(err)
	for _, r := range trash {
		// Where a file system has no room even to write a file over, only removing
		// something helps.
		if err != nil && !full {
			kept = append(kept, r)
			continue
		}
		var e error
		if r.to != "" {
			e = s.fs.rename(r.path, r.to)
		} else {
			e = s.fs.remove(r.path)
		}
		if e != nil && !errors.Is(e, os.ErrNotExist) {
			kept = append(kept, r)
			if err == nil {
				err = e
			}
		}
	}
	s.mu.Lock()
	s.trash = append(kept, s.trash...)
	if written {
		s.file.written()
		s.file.freed = s.file.freed[freed:]
		s.file.dirty = false
	}
	if err == nil && must {
		s.file.must = false
	}
	for _, c := range s.cursors {
		c.tried = max(c.tried, c.writing)
		if written {
			c.saved = max(c.saved, c.writing)
		}
	}
	s.moved()
	s.mu.Unlock()
	return err
}
