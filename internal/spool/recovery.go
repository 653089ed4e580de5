// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
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
		// Of that directory nothing may be left in mind: what is known of it would be
		// removed, or counted, later on.
		s.lock, s.file, s.segs, s.cursors = nil, cursorFile{}, nil, nil
		s.trash, s.aside, s.asideBytes = nil, nil, 0
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
		// What was in flight is in nobody's memory now: it may be at the receiver,
		// and is on disk only.
		c.doubt, c.doubtCum = c.sent, c.sentCum
		c.sent, c.sentCum = series.Position{}, 0
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
	// ok: its header is good; unsized: its size is not known.
	ok, unsized bool
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
				s.aside = append(s.aside, path)
				s.asideBytes += i.Size()
			}
			continue
		}
		first, ok := parseSegmentName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		i, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		// As large as a segment gets, where the disk does not tell.
		size, unsized := int64(segmentBytes), err != nil
		if !unsized {
			size = i.Size()
		}
		var f found
		for range readTries {
			if f, err = s.readHeader(path, first, size); err != nil {
				return nil, err
			}
			if !f.refused {
				break
			}
		}
		f.unsized = unsized
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

// readHeader reads one header. A disk that refuses says nothing of the segment: it
// is kept then, as one that was not read.
func (s *Spool) readHeader(path string, first uint64, size int64) (found, error) {
	g := found{segment: &segment{header: header{first: first}, path: path, size: size}}
	b := make([]byte, headerSize)
	f, err := s.fs.open(opSegmentOpen, path, os.O_RDONLY)
	if err == nil {
		defer f.Close()
		var n int
		n, err = s.fs.readAt(f, b, 0)
		b = b[:n]
	}
	if err != nil {
		g.refused = true
		s.log.WithError(err).Error("a segment cannot be read now; it is kept, and read when its turn comes")
		return g, nil
	}
	h, err := parseHeader(b)
	var newer *newerError
	if errors.As(err, &newer) {
		newer.path = path
		return g, err
	}
	if err == nil && h.first == first {
		g.header, g.ok = h, true
		return g, nil
	}
	s.log.WithFields(logrus.Fields{"path": path, "offset": 0, "error": err}).Warn("the header of a segment is damaged; its records are read all the same")
	return g, nil
}
