// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// run is the goroutine that owns the disk: everything that changes a file happens
// in it, so that nobody else waits for the disk longer than he wants to.
func (s *Spool) run() {
	defer close(s.done)
	for {
		var again <-chan time.Time
		if s.refused() {
			again = time.After(retryAfter)
		}
		select {
		case <-s.wake:
		case <-again:
		}
		if closing := s.round(); closing {
			return
		}
	}
}

func (s *Spool) refused() bool {
	s.log.mu.Lock()
	err := s.log.err
	s.log.mu.Unlock()
	return err != nil || s.cursorErr() != nil
}

// round brings the disk up to date: scrapes first, then cursors, then what nobody
// needs any more is removed.
func (s *Spool) round() (closing bool) {
	s.log.mu.Lock()
	closing = s.log.closing
	s.log.mu.Unlock()
	if s.crashing.Load() {
		s.closeFiles()
		return true
	}
	s.makeRoom()
	batch := s.log.unwritten()
	var werr error
	if len(batch) > 0 {
		werr = s.restore()
	}
	err := s.tidy(closing)
	if len(batch) > 0 {
		if werr == nil {
			werr = s.writer.write(batch)
		}
		if errors.Is(werr, fs.ErrNotExist) { // a new segment's directory
			if werr = s.restore(); werr == nil {
				werr = s.writer.write(s.log.rest(batch))
			}
		}
		s.log.done(batch, werr)
		s.trim()
		if werr == nil && (s.makeRoom() || closing) {
			err = s.tidy(closing)
		}
	}
	if closing {
		s.closeFiles()
	}
	s.settle(err)
	s.letGo()
	s.table.notify()
	return closing
}

// closeFiles closes the files, and with them gives up the lock.
func (s *Spool) closeFiles() {
	s.writer.close()
	s.table.file.close()
	if s.lock != nil {
		s.lock.Close()
	}
}

// settle notes what became of the cursors in this round.
func (s *Spool) settle(err error) {
	s.table.mu.Lock()
	was := s.table.err
	s.table.err = err
	s.table.mu.Unlock()
	switch {
	case err != nil && was == nil:
		s.o.Log.WithError(err).Error("the cursors cannot be written; after a crash samples would be sent again")
	case err == nil && was != nil:
		s.o.Log.Info("the cursors can be written again")
	}
	s.log.mu.Lock()
	s.log.moved()
	s.log.mu.Unlock()
}

// tidy writes the cursors that changed and removes the segments that went. Before
// a segment is removed the cursors are synced, so that no power cut brings back a
// cursor that points into it; and before something leaves, so that none takes the barrier away.
func (s *Spool) tidy(closing bool) error {
	s.log.mu.Lock()
	trash := s.log.trash
	s.log.trash = nil
	s.log.mu.Unlock()
	end := s.log.readable()
	f := &s.table.file
	s.table.mu.Lock()
	sync := closing || f.must || len(trash) > 0 || s.table.leaving()
	images := s.table.collect(sync, end)
	freed := len(f.freed)
	s.table.mu.Unlock()

	err := f.write(&s.fs, images)
	written := err == nil
	if written && sync {
		err = f.sync(&s.fs)
	}
	var kept []string
	full := noRoom(err)
	for _, path := range trash {
		// Where a file system has no room even to write a file over, only removing
		// something helps.
		if err != nil && !full {
			kept = append(kept, path)
			continue
		}
		if e := s.fs.remove(path); e != nil && !errors.Is(e, os.ErrNotExist) {
			kept = append(kept, path)
			if err == nil {
				err = e
			}
		}
	}
	s.table.mu.Lock()
	s.table.wrote(images, written)
	if written {
		f.freed = f.freed[freed:]
		f.must = f.must && err != nil
	}
	s.table.mu.Unlock()
	s.log.mu.Lock()
	s.log.trash = append(kept, s.log.trash...)
	s.log.moved()
	s.log.mu.Unlock()
	return err
}

// writer writes scrapes into segments.
type writer struct {
	log *log
	fs  *fileOps
	enc encoder
	// seg is the open segment, f its file, nil before its first record is written.
	seg *segment
	f   *os.File
	// next is where the open segment goes on: with another scrape it ends.
	next edge
	buf  []byte
	// several: a target other than the engine's was seen. Earlier releases can read what
	// is written before that.
	several bool
}

// limit is the size at which a segment ends.
func (w *writer) limit() int64 {
	if w.log.o.MaxBytes <= 0 {
		return segmentBytes
	}
	return min(segmentBytes, max(w.log.o.MaxBytes/4, 4<<10))
}

// write puts the batch on disk. After an error, what of it is not there goes into a
// new segment with the next call.
func (w *writer) write(batch []*entry) error {
	for _, e := range batch {
		w.several = w.several || e.Target != 0
		if w.seg != nil && (w.at() >= w.limit() || w.enc.defined() >= maxSeries || e.setBack ||
			e.Time-w.seg.time >= segmentAge.Milliseconds() || e.seq != w.next.seq || e.Target != 0 && !w.seg.several) {
			if err := w.flush(); err != nil {
				return err
			}
			w.close()
		}
		if w.seg == nil {
			w.begin(e)
		}
		var err error
		if w.buf, err = w.enc.append(w.buf, w.seg.first, w.at(), e, w.log.reg); err != nil {
			w.abandon()
			return err
		}
		w.next = edge{e.seq + 1, e.end(), e.Time}
	}
	return w.flush()
}

// at is the offset at which the next record begins.
func (w *writer) at() int64 { return w.seg.size + int64(len(w.buf)) }

// begin prepares a segment that begins with that scrape.
func (w *writer) begin(e *entry) {
	h := header{setBack: e.setBack, several: w.several, gap: series.Unreadable, first: e.seq, cum: e.cum, time: e.Time, ahead: e.ahead}
	if e.lostFrom < e.cum {
		h.gap = series.RingFull
	}
	w.seg = &segment{header: h, path: filepath.Join(w.log.dir, segmentName(e.seq)), epoch: e.epoch, lostFrom: e.lostFrom}
	w.enc.reset(w.log.reg)
	w.buf = h.append(w.buf[:0])
}

// flush writes and syncs what is encoded.
func (w *writer) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := w.put(); err != nil {
		w.abandon()
		return err
	}
	w.log.advance(w.seg, w.at(), w.next)
	if w.buf = w.buf[:0]; cap(w.buf) > keepBuffer {
		w.buf = nil
	}
	w.enc.shrink()
	return nil
}

// put makes the calls, a new segment's in this order: the file, its bytes, sync, sync
// of the directory.
func (w *writer) put() error {
	isNew := w.f == nil
	if isNew {
		f, err := w.fs.open(opSegmentCreate, w.seg.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if errors.Is(err, fs.ErrExist) {
			// A write that failed has left it, or a start that read all of it and could
			// not remove it: it holds no whole record, or this sequence number would not
			// be free.
			if err = w.fs.remove(w.seg.path); err == nil {
				f, err = w.fs.open(opSegmentCreate, w.seg.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
			}
		}
		if err != nil {
			return err
		}
		w.f = f
	}
	if err := w.fs.writeAt(opSegmentWrite, w.f, w.buf, w.seg.size); err != nil {
		return err
	}
	if isNew {
		if err := w.fs.sync(opSegmentSync, w.f); err != nil {
			return err
		}
		return w.fs.syncDir(w.log.dir)
	}
	return w.fs.datasync(opSegmentSync, w.f)
}

// abandon gives up a segment after an error: after a sync that failed nothing is
// known of what was written since the last good one, and a second sync would tell
// nothing. What is in memory goes into a new segment.
func (w *writer) abandon() {
	if w.f != nil {
		var err error
		if w.seg.size > 0 {
			// What is behind the last good sync was never said to be written.
			err = w.fs.truncate(w.f, w.seg.size)
		} else {
			// Nothing of it ever was.
			err = w.fs.remove(w.seg.path)
		}
		if err != nil {
			w.log.o.Log.WithFields(logrus.Fields{"path": w.seg.path, "error": err}).Warn("what was not written in full is left in place")
		}
	}
	w.close()
}

// close ends the open segment.
func (w *writer) close() {
	if w.f != nil {
		w.f.Close()
	}
	w.enc.reset(w.log.reg)
	w.f, w.seg, w.buf = nil, nil, w.buf[:0]
}
