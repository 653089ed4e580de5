// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// writer owns the segment that is being written, and is owned by run.
type writer struct {
	s   *Spool
	enc encoder
	f   *os.File
	// seg is the open segment; it is in the spool's list once its first record is
	// on disk.
	seg    *segment
	listed bool
	lastAt int64
	// seq and cum are where the next record must go on, or a gap lies between.
	seq, cum uint64
	buf      []byte
	batch    []*entry
}

// run is the goroutine that owns the disk: everything that changes a file happens
// in it, so that nobody else waits for the disk longer than he wants to.
func (s *Spool) run() {
	defer close(s.done)
	var retry *time.Timer
	for {
		var again <-chan time.Time
		if s.refused() {
			if retry == nil {
				retry = time.NewTimer(retryAfter)
			} else {
				retry.Reset(retryAfter)
			}
			again = retry.C
		}
		select {
		case <-s.wake:
		case <-again:
		}
		if closing := s.round(); closing {
			if retry != nil {
				retry.Stop()
			}
			return
		}
	}
}

func (s *Spool) refused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil || s.cursorErr != nil
}

// round brings the disk up to date: scrapes first, then cursors, then what nobody
// needs any more is removed.
func (s *Spool) round() (closing bool) {
	w := &s.writer
	s.mu.Lock()
	closing = s.closing
	if s.crashing {
		s.letGo()
		s.mu.Unlock()
		return true
	}
	s.makeRoom()
	w.batch = w.batch[:0]
	for _, e := range s.ring.entries {
		if e.seq > s.durable {
			e.busy = true
			w.batch = append(w.batch, e)
		}
	}
	s.mu.Unlock()

	err := s.tidy(closing)
	if len(w.batch) > 0 {
		werr := w.write()
		s.mu.Lock()
		s.finish(werr)
		s.mu.Unlock()
		if werr == nil && (s.room() || closing) {
			err = s.tidy(closing)
		}
	}
	if closing {
		s.letGo()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(err)
	return closing
}

// letGo closes the files, and with them gives up the lock.
func (s *Spool) letGo() {
	s.writer.close()
	s.file.close()
	if s.lock != nil {
		s.lock.Close()
	}
}

// finish notes what became of a batch.
func (s *Spool) finish(err error) {
	w := &s.writer
	last := w.batch[len(w.batch)-1].seq
	for i, e := range w.batch {
		e.busy = false
		w.batch[i] = nil
	}
	if err != nil {
		if s.err == nil {
			s.log.WithError(err).Error("the spool cannot be written; scrapes wait in memory")
		}
		s.err = fmt.Errorf("%w: %w", ErrNotDurable, err)
		s.failed = max(s.failed, last)
		s.full = noRoom(err)
		return
	}
	s.full, s.yielded = false, false
	if s.err != nil {
		s.log.Info("the spool can be written again")
		s.err = nil
	}
	s.overflowing = false
}

// settle ends a round: whoever waits for it looks again.
func (s *Spool) settle(err error) {
	switch {
	case err != nil && s.cursorErr == nil:
		s.log.WithError(err).Error("the cursors cannot be written; after a crash samples would be sent again")
	case err == nil && s.cursorErr != nil:
		s.log.Info("the cursors can be written again")
	}
	s.cursorErr = err
	s.moved()
}

// moved says that the disk answers.
func (s *Spool) moved() {
	s.stuck = false
	close(s.progress)
	s.progress = make(chan struct{})
}

// advance publishes what is on disk now.
func (s *Spool) advance(seg *segment, isNew bool, size int64, seq, cum uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isNew {
		s.segs = append(s.segs, seg)
	}
	seg.size = size
	s.durable, s.durableCum = max(s.durable, seq), max(s.durableCum, cum)
	if s.visible < s.durable {
		s.visible, s.visibleCum = s.durable, s.durableCum
		s.changed()
	}
	s.trim()
	s.moved()
}

// limit is the size at which a segment ends.
func (s *Spool) limit() int64 {
	if s.o.MaxBytes <= 0 {
		return segmentBytes
	}
	return min(segmentBytes, max(s.o.MaxBytes/4, 4<<10))
}

// write puts the batch on disk.
func (w *writer) write() error {
	last := w.batch[0]
	for _, e := range w.batch {
		if w.seg != nil {
			if full := w.at() >= w.s.limit() || len(w.enc.dict) >= maxSeries; full || e.mark || e.time-w.seg.time >= segmentAge.Milliseconds() || e.seq != w.seq {
				if err := w.flush(last); err != nil {
					return err
				}
				w.close()
			}
		}
		if w.seg == nil {
			w.begin(e)
		}
		var err error
		if w.buf, err = w.enc.append(w.buf, w.seg.first, w.at(), e); err != nil {
			w.abandon()
			return err
		}
		w.seq, w.cum, w.lastAt = e.seq+1, e.cum+uint64(e.len()), e.time
		last = e
	}
	return w.flush(last)
}

// at is the offset at which the next record begins.
func (w *writer) at() int64 { return w.seg.size + int64(len(w.buf)) }

// begin prepares a segment that begins with that scrape.
func (w *writer) begin(e *entry) {
	h := header{mark: e.mark, first: e.seq, cum: e.cum, time: e.time}
	if w.seq != 0 && w.seq != e.seq {
		h.gap = series.RingFull
	} else {
		h.gap = series.Unreadable
	}
	w.seg = &segment{header: h, path: filepath.Join(w.s.dir, segmentName(e.seq)), epoch: e.epoch}
	w.listed = false
	w.enc.reset()
	w.buf = h.append(w.buf[:0])
}

// flush writes and syncs what is encoded. A new segment is created by it, in this
// order: the file, its bytes, sync, sync of the directory.
func (w *writer) flush(last *entry) error {
	if len(w.buf) == 0 {
		return nil
	}
	s := w.s
	isNew := w.f == nil
	err := func() error {
		if isNew {
			f, err := s.fs.open(opSegmentCreate, w.seg.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
			if errors.Is(err, fs.ErrExist) {
				// It is a leftover: a segment that could not be finished, whose scrapes are
				// in memory, or one that was found without a record. A start numbers scrapes
				// beyond all that a segment which it could not read may hold.
				if err = s.fs.remove(w.seg.path); err == nil {
					f, err = s.fs.open(opSegmentCreate, w.seg.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
				}
			}
			if err != nil {
				return err
			}
			w.f = f
		}
		if err := s.fs.writeAt(opSegmentWrite, w.f, w.buf, w.seg.size); err != nil {
			return err
		}
		if isNew {
			if err := s.fs.sync(opSegmentSync, w.f); err != nil {
				return err
			}
			return s.fs.syncDir(s.dir)
		}
		return s.fs.datasync(opSegmentSync, w.f)
	}()
	if err != nil {
		w.abandon()
		return err
	}
	size := w.at()
	s.advance(w.seg, !w.listed, size, last.seq, last.cum+uint64(last.len()))
	w.listed = true
	w.shrink()
	return nil
}

// shrink empties the buffers and lets go of them where one scrape made them large.
func (w *writer) shrink() {
	const keep = 16 << 10
	w.buf = w.buf[:0]
	if cap(w.buf) > keep {
		w.buf = nil
	}
	if cap(w.enc.body) > keep {
		w.enc.body = nil
	}
	if cap(w.enc.packed) > keep {
		w.enc.packed = nil
	}
}

// abandon gives up a segment after an error: after a sync that failed nothing is
// known of what was written since the last good one, and a second sync would tell
// nothing. What is in memory goes into a new segment.
func (w *writer) abandon() {
	s := w.s
	if w.f != nil {
		// The file is open, so w made it. Up to size it is synced; what follows, or all of
		// it if nothing is, is in memory still.
		var err error
		if w.listed {
			err = s.fs.truncate(w.f, w.seg.size)
		} else {
			err = s.fs.remove(w.seg.path)
		}
		if err != nil {
			s.log.WithFields(logrus.Fields{"path": w.seg.path, "error": err}).Warn("what was not written in full is left in place")
		}
	}
	w.close()
}

// close ends the open segment.
func (w *writer) close() {
	if w.f != nil {
		w.f.Close()
	}
	w.f, w.seg, w.buf = nil, nil, w.buf[:0]
	w.enc.column = nil
}
