// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
	const untouched = "a spool of a newer release is left untouched; a new one is begun beside it"
	for _, e := range names {
		if v, ok := dirVersion(e.Name()); ok && v > version {
			s.o.Log.WithField("path", filepath.Join(dir, e.Name())).Warn(untouched)
		}
	}
	for n := range 100 {
		s.log.dir = filepath.Join(dir, dirName(n))
		err := s.recoverIn()
		var newer *newerError
		if !errors.As(err, &newer) {
			return err
		}
		s.o.Log.WithError(err).Warn(untouched)
		// Of that directory nothing may be left in mind: what is known of it would be
		// removed, or counted, later on.
		s.lock.Close()
		s.table.file.close()
		s.lock, s.table.file = nil, cursorFile{}
		s.log.segs, s.log.trash, s.log.epoch = nil, nil, 0
	}
	return fmt.Errorf("every directory up to %s holds files of a newer release", s.log.dir)
}

// recoverIn reads one directory. A *newerError means that it is a later release's.
func (s *Spool) recoverIn() error {
	dir := s.log.dir
	err := s.fs.makeDir(dir)
	if err != nil {
		return err
	}
	if s.lock, err = s.fs.flock(filepath.Join(dir, lockName)); err != nil {
		return err
	}
	st, fresh, err := s.openCursors()
	if err != nil {
		return err
	}
	files, err := s.log.list(s.o.now())
	if err != nil {
		return err
	}
	s.log.load(files, &st)
	t := &s.table
	warn := s.o.Log.WithField("path", filepath.Join(dir, cursorsName))
	if fresh && len(s.log.segs) > 0 {
		warn.Warn("the cursors are missing; every endpoint starts at the oldest scrape")
		t.orphans = 1 << 30
	} else if st.damaged > 0 {
		warn.Warn("a cursor is damaged; an endpoint without one starts at the oldest scrape")
		t.orphans = st.damaged
	}
	for _, stored := range st.cursors {
		c := newCursor(s, stored.pair)
		c.state = stored.cursorState
		t.cursors = append(t.cursors, c)
	}
	t.removed, t.file.generations = st.removed, st.generations
	t.file.room(0)
	return nil
}

// openCursors opens and reads the cursor file; fresh is true if there was none.
func (s *Spool) openCursors() (st stored, fresh bool, err error) {
	f := &s.table.file
	path := filepath.Join(s.log.dir, cursorsName)
	if f.f, err = s.fs.open(opCursorsOpen, path, os.O_RDWR|os.O_CREATE); err != nil {
		return st, false, err
	}
	b, err := io.ReadAll(io.LimitReader(f.f, maxCursors))
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
