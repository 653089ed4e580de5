// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// makeRoom takes out of the log what every endpoint has acknowledged, then what is
// past a limit, and reports whether there is something to remove. The newest segment
// stays in any case, and so does, short of a full disk, what an attempt under way
// began with.
func (s *Spool) makeRoom() (any bool) {
	s.clock.look()
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	l := &s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	s.table.expire(s.clock.passed(), l.visible.cum, s.o.Log)
	least := s.table.least(l.visible.position())
	for i := 0; i+1 < len(l.segs) && l.segs[i+1].first <= least.Scrape; {
		// Those that the disk refused to read stay between the others.
		if l.segs[i].refused {
			i++
			continue
		}
		l.discard(i)
	}
	for len(l.segs) > 1 {
		why, due := s.due()
		if !due || l.room != full && s.table.pinned(series.Position{}, l.segs[1].position()) {
			break
		}
		if l.room == full {
			l.room = yielded
		}
		s.evict(why)
	}
	return len(l.trash) > 0
}

// due reports whether the oldest segment is to go although it is needed.
func (s *Spool) due() (why series.Loss, due bool) {
	l := &s.log
	// On a full file system the oldest segment makes room before the ring must drop
	// a newer scrape; but if that did not help, somebody else takes all there is.
	if l.room == full && l.ring.bytes > s.o.RingBytes/2 {
		return series.EvictedSize, true
	}
	if s.aged() {
		return series.EvictedAge, true
	}
	return series.EvictedSize, s.o.MaxBytes > 0 && l.bytes()+s.table.file.size() > s.o.MaxBytes
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
	g := s.log.segs
	newest := g[0].time + segmentAge.Milliseconds()
	if g[0].guessed {
		newest = max(newest, g[1].time+segmentAge.Milliseconds())
	}
	return newest < now-s.o.MaxAge.Milliseconds()
}

// evict gives up the oldest segment, and with it what of it was not sent.
func (s *Spool) evict(why series.Loss) {
	gone, next := s.log.segs[0], s.log.segs[1].position()
	if s.table.least(next) != next {
		s.o.Log.WithFields(logrus.Fields{"reason": why.String(), "path": gone.path, "samples": less(next.Count, gone.cum)}).
			Warn("the oldest scrapes are dropped before every endpoint had them")
	}
	s.log.discard(0)
	s.table.lose(next, why)
}

// overflow drops the oldest scrapes of the ring where it is full. One that is not on
// disk is lost with that, and what comes behind it remembers: whoever still has to read
// up to there finds the gap, and its reason.
func (s *Spool) overflow() {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	l := &s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.ring.entries) > 1 && l.ring.bytes > s.o.RingBytes {
		e, next := l.ring.entries[0], l.ring.entries[1]
		if e.seq < l.durable.seq {
			l.ring.drop(1, l.reg)
			continue
		}
		to := series.Position{Scrape: next.seq, Count: next.cum}
		if s.table.pinned(series.Position{Scrape: e.seq, Count: e.cum}, to) {
			return
		}
		next.lostFrom = e.lostFrom
		for _, c := range s.table.cursors {
			if at := c.state.pos; s.table.needed(c) && at.Count >= e.lostFrom && at.Before(to) {
				c.state.tally.Lost[series.RingFull] += less(to.Count, at.Count)
				c.state.pos = to
				c.version++
			}
		}
		if l.visible.seq < next.seq {
			l.visible = edge{next.seq, next.cum, next.Time}
		}
		s.o.Log.Warn("the memory ring is full; its oldest scrapes are dropped")
		l.ring.drop(1, l.reg)
	}
}

func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
