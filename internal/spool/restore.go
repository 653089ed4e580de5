// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"
)

// restore begins anew with those of the open files that are no longer there under their
// names, since somebody has deleted the directory, or moved it away: what is written to
// them would be lost with the process. What waited in them is; whoever reads up to there
// counts it as unreadable. With each scrape the open segment is asked whether it has a name
// at all, which costs next to nothing; names are looked up with the second of each segment.
func (s *Spool) restore() error {
	w, f := &s.writer, &s.table.file
	if w.f != nil && !s.fs.unlinked(w.f) && w.next.seq != w.seg.first+1 {
		return nil
	}
	segment := w.f != nil && !s.fs.named(w.f)
	cursors, lock := !s.fs.named(f.f), !s.fs.named(s.lock)
	if !segment && !cursors && !lock {
		return nil
	}
	if segment || lock {
		w.close()
	}
	s.measure()
	if err := s.fs.makeDir(s.log.dir); err != nil {
		return err
	}
	if lock {
		l, err := s.fs.flock(filepath.Join(s.log.dir, lockName))
		if err != nil {
			return err
		}
		s.lock.Close()
		s.lock = l
	}
	if cursors {
		c, err := s.fs.open(opCursorsOpen, filepath.Join(s.log.dir, cursorsName), os.O_RDWR|os.O_CREATE)
		if err != nil {
			return err
		}
		f.close()
		s.table.mu.Lock()
		f.f, f.must = c, true
		for _, c := range s.table.cursors {
			c.version++
		}
		s.table.mu.Unlock()
	}
	if err := s.fs.syncDir(s.log.dir); err != nil {
		return err
	}
	s.o.Log.WithFields(logrus.Fields{"path": s.log.dir, "segment": segment, "cursors": cursors, "lock": lock}).
		Error("somebody has deleted files of the spool or moved them away: they are begun anew, and what waited in them is lost")
	return nil
}

// measure takes the segments that are gone for empty.
func (s *Spool) measure() {
	s.log.mu.Lock()
	segs := append([]*segment(nil), s.log.segs...)
	s.log.mu.Unlock()
	for _, g := range segs {
		if _, err := os.Stat(g.path); errors.Is(err, fs.ErrNotExist) {
			s.log.mu.Lock()
			g.size = 0
			s.log.mu.Unlock()
		}
	}
}
