// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

const (
	dirPrefix = "spool-v"
	lockName  = "lock"
	// maxCursors bounds the part of the cursor file that is read.
	maxCursors = 1 << 20
)

// dirVersion reads the name of a spool's directory: spool-v1, or spool-v1-2 where
// spool-v1 holds files of a later release.
func dirVersion(name string) (v int, ok bool) {
	rest, ok := strings.CutPrefix(name, dirPrefix)
	if !ok {
		return 0, false
	}
	rest, _, _ = strings.Cut(rest, "-")
	v, err := strconv.Atoi(rest)
	return v, err == nil && v > 0
}

func dirName(n int) string {
	if n == 0 {
		return fmt.Sprintf("%s%d", dirPrefix, version)
	}
	return fmt.Sprintf("%s%d-%d", dirPrefix, version, n)
}

// recover reads what is in dir.
func (s *Spool) recover(dir string) error {
	if err := s.fs.mkdir(dir); err != nil {
		return err
	}
	names, err := s.fs.readDir(dir)
	if err != nil {
		return err
	}
	for _, e := range names {
		if v, ok := dirVersion(e.Name()); ok && v > version {
			s.log.WithField("path", filepath.Join(dir, e.Name())).
				Warn("a spool of a newer release is left untouched; a new one is begun beside it")
		}
	}
	for n := range 100 {
		s.dir = filepath.Join(dir, dirName(n))
		err := s.recoverIn()
		var newer *newerError
		if !errors.As(err, &newer) {
			return err
		}
		s.log.WithError(err).Warn("a spool of a newer release is left untouched; a new one is begun beside it")
		s.lock.Close()
		s.file.close()
		s.lock, s.file, s.segs, s.cursors = nil, cursorFile{}, nil, nil
	}
	return fmt.Errorf("every directory up to %s holds files of a newer release", s.dir)
}

// recoverIn reads one directory. A *newerError means that it is a later release's.
func (s *Spool) recoverIn() error {
	_, err := os.Stat(s.dir)
	if err != nil {
		if err = s.fs.mkdir(s.dir); err != nil {
			return err
		}
		// The names of both directories have to last, too.
		for _, dir := range []string{filepath.Dir(s.dir), filepath.Dir(filepath.Dir(s.dir))} {
			if err = s.fs.syncDir(dir); err != nil && !errors.Is(err, os.ErrPermission) {
				return err
			}
		}
	}
	if s.lock, err = s.fs.flock(filepath.Join(s.dir, lockName)); err != nil {
		return err
	}
	st, fresh, err := s.openCursors()
	if err != nil {
		return err
	}
	files, err := s.listSegments()
	if err != nil {
		return err
	}
	if err := s.load(files, &st); err != nil {
		return err
	}
	if fresh && len(s.segs) > 0 {
		s.log.WithField("path", filepath.Join(s.dir, cursorsName)).
			Warn("the cursors are missing; every endpoint starts at the oldest scrape")
		s.orphans = 1 << 30
	} else if st.damaged > 0 {
		s.log.WithField("path", filepath.Join(s.dir, cursorsName)).
			Warn("a cursor is damaged; an endpoint without one starts at the oldest scrape")
		s.orphans = st.damaged
	}
	for _, c := range st.cursors {
		c.s, c.reader.s = s, s
		c.changedCh = make(chan struct{}, 1)
		c.crashed, c.hasCrashed = c.sent, c.sentCum > c.cum
	}
	s.cursors = st.cursors
	s.state = st.state
	s.file.generations = st.generations
	s.file.room(0)
	inst := shortHash(s.o.Instance)
	switch _, cum := s.head(); {
	case st.hasState && st.state.instance != inst && st.state.daemon != [16]byte{} && cum < s.total:
		s.state.heldUntil = s.next
		s.log.Info("the backlog was written under another instance; it waits for the engine's identity")
	default:
		s.state.instance = inst
	}
	s.file.dirty = true
	return nil
}

func (f *cursorFile) room(pair int) {
	for len(f.generations) <= pair {
		f.generations = append(f.generations, 0)
	}
}

// openCursors opens and reads the cursor file; fresh is true if there was none.
func (s *Spool) openCursors() (st stored, fresh bool, err error) {
	path := filepath.Join(s.dir, cursorsName)
	if s.file.f, err = s.fs.open(opCursorsOpen, path, os.O_RDWR|os.O_CREATE); err != nil {
		return st, false, err
	}
	b, err := io.ReadAll(io.LimitReader(s.file.f, maxCursors))
	if err != nil {
		return st, false, err
	}
	st, err = parseCursors(b)
	var newer *newerError
	if errors.As(err, &newer) {
		newer.path = path
	}
	return st, len(b) == 0, err
}

// found is a segment's file as it was found.
type found struct {
	*segment
	// ok: its header is good.
	ok bool
}

// listSegments reads the headers of all segments, oldest first. Files that are not
// the spool's are not looked at.
func (s *Spool) listSegments() ([]found, error) {
	entries, err := s.fs.readDir(s.dir)
	if err != nil {
		return nil, err
	}
	var files []found
	for _, e := range entries {
		path := filepath.Join(s.dir, e.Name())
		if strings.HasSuffix(e.Name(), segmentSuffix+foreignSuffix) {
			if i, err := e.Info(); err == nil {
				if s.o.now().Sub(i.ModTime()) > foreignFor {
					s.trash = append(s.trash, rubbish{path: path})
					continue
				}
				s.aside = append(s.aside, path)
				s.asideBytes += i.Size()
			}
			continue
		}
		first, ok := parseSegmentName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		f, err := s.readHeader(path, first)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b found) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	return files, nil
}

func (s *Spool) readHeader(path string, first uint64) (found, error) {
	g := found{segment: &segment{header: header{first: first}, path: path}}
	f, err := s.fs.open(opSegmentOpen, path, os.O_RDONLY)
	if err != nil {
		s.log.WithError(err).Error("a segment cannot be opened; it counts as unreadable")
		return g, nil
	}
	defer f.Close()
	i, err := f.Stat()
	if err == nil {
		g.size = i.Size()
		b := make([]byte, headerSize)
		var n int
		if n, err = s.fs.readAt(f, b, 0); err == nil {
			var h header
			h, err = parseHeader(b[:n])
			var newer *newerError
			if errors.As(err, &newer) {
				newer.path = path
				return g, err
			}
			if err == nil && h.first == first {
				g.header, g.ok = h, true
				return g, nil
			}
		}
	}
	s.log.WithFields(logrus.Fields{"path": path, "offset": 0, "error": err}).Warn("the header of a segment is damaged; its records are read all the same")
	return g, nil
}

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
