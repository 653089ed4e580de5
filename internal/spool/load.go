// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"io"
	"os"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// extent is what a scan of a whole segment finds.
type extent struct {
	records     int
	first, last mark
	// end is the count behind the last record, size where it ends.
	end  uint64
	size int64
}

func (s *Spool) scan(g *segment, limit uint64) (x extent, err error) {
	f, err := s.fs.open(opSegmentOpen, g.path, os.O_RDONLY)
	if err != nil {
		return x, err
	}
	defer f.Close()
	sc := scanner{fs: &s.fs}
	sc.reset(f, g.first, g.size)
	x.size = min(g.size, headerSize)
	for {
		r, _, err := sc.next()
		if errors.Is(err, io.EOF) {
			return x, nil
		}
		if err != nil {
			return x, err
		}
		if r.seq >= limit {
			return x, nil
		}
		m := mark{seq: r.seq, cum: r.cum, time: r.time}
		if x.records == 0 {
			x.first = m
		}
		x.records++
		x.last, x.end, x.size = m, r.cum+uint64(r.n), sc.off
	}
}

// load takes over the segments and finds where the log ends. Only the newest
// segment is read through, and those whose header is damaged and the ones before them.
func (s *Spool) load(files []found, st *stored) error {
	files, end, endless := s.newest(files)
	s.next, s.total, s.lastTime = 1, 0, 0
	if end.records > 0 {
		s.next, s.total, s.lastTime = end.last.seq+1, end.end, end.last.time
	}
	if endless {
		// No record is smaller than frameMin: these numbers may all be taken.
		g := files[len(files)-1]
		s.next, s.total = g.first+uint64(g.size)/frameMin+1, max(s.total, g.cum)
	}
	for i, g := range files {
		if !g.ok {
			s.mend(files, i, st)
		}
		if i > 0 && !g.ok && g.time <= files[i-1].time {
			g.mark = true
		}
		if i > 0 && g.ok && g.gap == series.RingFull {
			if before, err := s.scan(files[i-1].segment, g.first); err == nil && before.records > 0 {
				s.noteGap(before.end, g.cum, g.gap)
			}
		}
		if i+1 < len(files) && st.passed(files[i+1].first) {
			// It was about to be removed when the process ended, or was kept.
			if _, err := s.scan(g.segment, ^uint64(0)); err != nil {
				g.refused = true
				s.log.WithError(err).Error("a segment that every endpoint has acknowledged cannot be read; it is kept")
			}
		}
		if g.mark {
			s.epoch++
		}
		g.epoch = s.epoch
		s.total = max(s.total, g.cum)
		s.segs = append(s.segs, g.segment)
	}
	if st.total > s.total && !endless {
		s.log.WithFields(logrus.Fields{"scrapes": max(st.next, s.next) - s.next, "samples": st.total - s.total, "directory": s.dir}).
			Warn("the end of the spool is missing")
	}
	s.next, s.total = max(s.next, st.next), max(s.total, st.total)
	s.durable, s.durableCum = s.next-1, s.total
	s.visible, s.visibleCum = s.durable, s.durableCum
	return nil
}

// newest finds where the log ends, and gives the segments without those at the end that
// hold nothing. endless: the disk does not say where the last one ends.
func (s *Spool) newest(files []found) (rest []found, end extent, endless bool) {
	// The end of the log: whatever of the newest segment is no record is a tail
	// that was torn when the process or the machine stopped.
	for len(files) > 0 {
		g := files[len(files)-1]
		var err error
		for range readTries {
			if end, err = s.scan(g.segment, ^uint64(0)); err == nil {
				break
			}
		}
		if endless = err != nil || g.unsized || g.refused && end.records == 0; endless {
			// Where it ends, or whose it is, is not known: nothing is cut off or removed.
			g.refused = true
			if err != nil {
				s.log.WithError(err).Error("the newest segment cannot be read to its end; it is kept, and read again when its turn comes")
			}
			break
		}
		g.refused = false
		if end.records > 0 {
			// All of it was read, and behind the last record there is none.
			if end.size < g.size {
				s.cut(g.segment, end.size)
			}
			break
		}
		if g.size > headerSize || !g.ok {
			s.log.WithFields(logrus.Fields{"path": g.path, "bytes": g.size}).Warn("a segment without a single whole record is removed")
		}
		// All of it was read, header included, and it holds no record.
		if err := s.fs.remove(g.path); err != nil {
			s.log.WithError(err).Warn("an empty segment cannot be removed")
		}
		files = files[:len(files)-1]
	}
	return files, end, endless
}

// passed reports whether every cursor stands at or behind that scrape.
func (st *stored) passed(seq uint64) bool {
	for _, c := range st.cursors {
		if c.position().Scrape < seq {
			return false
		}
	}
	return len(st.cursors) > 0
}

// cut takes a torn tail off.
func (s *Spool) cut(g *segment, size int64) {
	s.log.WithFields(logrus.Fields{"path": g.path, "offset": size, "bytes": g.size - size}).Warn("a torn tail is cut off")
	f, err := s.fs.open(opSegmentOpen, g.path, os.O_WRONLY)
	if err == nil {
		err = s.fs.truncate(f, size)
		f.Close()
	}
	if err != nil {
		s.log.WithError(err).Warn("a torn tail cannot be cut off; it is not read")
	}
	g.size = size
}

// mend finds out what a damaged header said: from the segment's own records where
// its first one is good, else from where the one before it ends.
func (s *Spool) mend(files []found, i int, st *stored) {
	g := files[i].segment
	x, _ := s.scan(g, ^uint64(0))
	if x.records > 0 {
		g.time = x.first.time
		if x.first.seq == g.first {
			g.cum = x.first.cum
			return
		}
	}
	g.guessed = true
	if i > 0 {
		before, err := s.scan(files[i-1].segment, g.first)
		if g.time == 0 {
			g.time = files[i-1].time
		}
		if g.cum = files[i-1].cum; err == nil && before.records > 0 {
			g.cum = before.end
		}
		return
	}
	// Nothing comes before: a cursor may stand just there.
	for _, c := range st.cursors {
		if c.pos.Scrape == g.first && c.pos.Ordinal == 0 {
			g.cum = c.cum
			return
		}
	}
	if x.records > 0 {
		g.cum = x.first.cum
	} else if len(files) > 1 {
		g.cum = files[1].cum
	}
}
