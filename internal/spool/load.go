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
	// The end of the log: whatever of the newest segment is no record is a tail
	// that was torn when the process or the machine stopped.
	var end extent
	for len(files) > 0 {
		g := files[len(files)-1]
		var err error
		if end, err = s.scan(g.segment, ^uint64(0)); err != nil {
			s.log.WithError(err).Error("the newest segment cannot be read; it counts as unreadable")
		}
		if err != nil || end.records > 0 {
			if err == nil && end.size < g.size {
				s.cut(g.segment, end.size)
			}
			break
		}
		if g.size > headerSize || !g.ok {
			s.log.WithFields(logrus.Fields{"path": g.path, "bytes": g.size}).Warn("a segment without a single whole record is removed")
		}
		if err := s.fs.remove(g.path); err != nil {
			s.log.WithError(err).Warn("an empty segment cannot be removed")
		}
		files = files[:len(files)-1]
	}
	s.next, s.total, s.lastTime = 1, 0, 0
	if end.records > 0 {
		s.next, s.total, s.lastTime = end.last.seq+1, end.end, end.last.time
	} else if n := len(files); n > 0 {
		s.next, s.total = files[n-1].first+1, files[n-1].cum
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
		if g.mark {
			s.epoch++
		}
		g.epoch = s.epoch
		s.total = max(s.total, g.cum)
		s.segs = append(s.segs, g.segment)
	}
	if st.next > s.next || st.total > s.total {
		lost := uint64(0)
		if st.total > s.total {
			lost = st.total - s.total
		}
		s.log.WithFields(logrus.Fields{"scrapes": max(st.next, s.next) - s.next, "samples": lost, "directory": s.dir}).
			Warn("the end of the spool is missing")
		s.next, s.total = max(s.next, st.next), max(s.total, st.total)
	}
	s.durable, s.durableCum = s.next-1, s.total
	s.visible, s.visibleCum = s.durable, s.durableCum
	return nil
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
	x, err := s.scan(g, ^uint64(0))
	if err == nil && x.records > 0 {
		g.time = x.first.time
		if x.first.seq == g.first {
			g.cum = x.first.cum
			return
		}
	}
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
