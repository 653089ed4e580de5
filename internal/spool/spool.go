// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/panics"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

const (
	// segmentBytes and segmentAge end a segment.
	segmentBytes = 1 << 20
	segmentAge   = time.Hour
	// defaultRing is RingBytes where that is 0.
	defaultRing = 2 << 20
	// patience is how long Append, Begin and Ack wait for the disk at most.
	patience = 2 * time.Second
	// retryAfter is when a write that failed is made again if no scrape comes before.
	retryAfter = 5 * time.Second
	// unclaimedFor is how long a cursor is kept that no endpoint claims.
	unclaimedFor = 7 * 24 * time.Hour
)

// Spool is the queue. Append is for one goroutine; each Cursor is for one other.
type Spool struct {
	o   Options
	log logrus.FieldLogger
	fs  fileOps
	// dir is where the files of this format version lie; "" for a spool without a disk.
	dir    string
	lock   *os.File
	intern interner
	writer writer

	mu   sync.Mutex
	segs []*segment
	ring ring
	col  column
	// next is the sequence number of the next scrape, total the number of samples
	// in all scrapes before it.
	next, total uint64
	// durable is the last scrape on disk, durableCum the samples up to its end.
	durable, durableCum uint64
	// visible is the last scrape that may be sent, visibleCum the samples up to its
	// end, failed the last one that was written in vain.
	visible, visibleCum, failed uint64
	lastTime                    int64
	// epoch counts the times that the clock was set back.
	epoch uint64
	// err is why scrapes do not reach the disk, cursorErr why cursors do not.
	err, cursorErr error
	// stuck: the disk has kept somebody waiting longer than patience, and nothing
	// has moved since.
	stuck bool
	// gaps are scrapes that never reached the disk.
	gaps []gap

	cursors []*Cursor
	// claimed: Claim was called. Before that every stored cursor counts as claimed.
	claimed bool
	// orphans counts cursors whose entry in the cursor file is damaged.
	orphans int
	state   state
	file    cursorFile
	trash   []rubbish
	clock   clock
	// aside are another host's segments, and what they take.
	aside      []string
	asideBytes int64
	// identified: the engine's daemon_id is known.
	identified bool
	// full: the file system has no room. yielded: a segment went for that; unless
	// it helps, no other one does.
	full, yielded bool
	// overflowing: the ring lost scrapes since it was last written out.
	overflowing bool

	// crashing: the end is a crash, nothing more is written. It is the tests'.
	closing, crashing bool
	wake              chan struct{}
	progress          chan struct{}
	done              chan struct{}
}

// gap is a range of the cumulative count that never reached the disk.
type gap struct {
	from, to uint64
	why      series.Loss
}

func newSpool(o Options) *Spool {
	s := &Spool{o: o, log: o.Log, fs: fileOps{hook: o.hook}}
	if s.log == nil {
		l := logrus.New()
		l.SetOutput(discard{})
		s.log = l
	}
	if s.o.RingBytes <= 0 {
		s.o.RingBytes = defaultRing
	}
	if s.o.patience <= 0 {
		s.o.patience = patience
	}
	if s.o.now == nil {
		s.o.now = time.Now
	}
	if s.o.ran == nil {
		opened := time.Now()
		s.o.ran = func() time.Duration { return time.Since(opened) }
	}
	s.clock = clock{now: s.o.now, ran: s.o.ran, counted: s.o.ran()}
	s.next = 1
	s.wake = make(chan struct{}, 1)
	s.progress = make(chan struct{})
	s.done = make(chan struct{})
	s.writer.s = s
	return s
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// Open opens or creates the spool in dir. What is damaged in it is counted and
// logged, and keeps it from opening in no case; an error means that the directory
// cannot be used at all, or not now (ErrLocked). The spool that is returned with an
// error is one without a disk: scrapes wait in the memory ring alone, and
// Append's errors and Err say why.
func Open(dir string, o Options) (*Spool, error) {
	s := newSpool(o)
	if err := s.recover(dir); err != nil {
		if s.lock != nil {
			s.lock.Close()
		}
		s.file.close()
		err = fmt.Errorf("open the spool in %s: %w", dir, err)
		s = newSpool(o)
		s.err = fmt.Errorf("%w: %w", ErrNotDurable, err)
		close(s.done)
		return s, err
	}
	panics.Go(s.log, "writing the spool", s.run)
	return s, nil
}

// Append stores a scrape and returns its position. When err is nil it is on disk
// and synced; when err wraps ErrNotDurable it is in the memory ring. The scrape is
// copied, its Series pointers are kept, or replaced by an older one that stands
// for an equal series.
func (s *Spool) Append(sc *series.Scrape) (series.Position, error) {
	if n := len(sc.Series); len(sc.Values) != n || len(sc.Starts) != 0 && len(sc.Starts) != n {
		return series.Position{}, fmt.Errorf("append a scrape: %d series, %d values, %d start timestamps", n, len(sc.Values), len(sc.Starts))
	}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return series.Position{}, ErrClosed
	}
	e := s.ring.take()
	e.seq, e.cum, e.time, e.busy = s.next, s.total, sc.Time, false
	if e.mark = s.lastTime != 0 && sc.Time <= s.lastTime; e.mark {
		s.epoch++
	}
	e.epoch = s.epoch
	before := s.col.canon
	e.series = s.col.of(sc.Series, &s.intern)
	e.values = append(e.values[:0], sc.Values...)
	e.starts = append(e.starts[:0], sc.Starts...)
	e.histograms = append(e.histograms[:0], sc.Histograms...)
	for i := range e.histograms {
		e.histograms[i].Series = s.intern.lookup(e.histograms[i].Series, true)
	}
	e.exemplars = e.exemplars[:0]
	for _, x := range sc.Exemplars {
		if x.Index >= 0 && x.Index < sc.Len() {
			e.exemplars = append(e.exemplars, x)
		}
	}
	s.next++
	s.total += uint64(e.len())
	s.lastTime = sc.Time
	s.ring.push(e)
	s.overflow()
	if !s.identified && (s.state.heldUntil != 0 || !sameColumn(before, e.series)) {
		s.identify(e)
	}
	if s.dir == "" {
		err := s.err
		s.release(e.seq)
		s.mu.Unlock()
		return series.Position{Scrape: e.seq}, err
	}
	seq := e.seq
	s.kick()
	err := s.await(func() (bool, error) {
		switch {
		case s.durable >= seq:
			return true, nil
		case s.failed >= seq:
			return true, s.err
		}
		return false, nil
	})
	if err != nil {
		s.release(seq)
	}
	s.mu.Unlock()
	return series.Position{Scrape: seq}, err
}

// release lets readers have the scrapes up to that one.
func (s *Spool) release(seq uint64) {
	if seq > s.visible {
		s.visible, s.visibleCum = seq, s.total
		if e := s.ring.get(seq + 1); e != nil {
			s.visibleCum = e.cum
		}
		s.trim()
		s.changed()
	}
}

// await is called with the lock held and gives it up while it waits for the disk.
// It returns an error that wraps ErrNotDurable when its patience ends.
func (s *Spool) await(ready func() (bool, error)) error {
	var timer *time.Timer
	for {
		if ok, err := ready(); ok {
			return err
		}
		if s.stuck {
			return fmt.Errorf("%w: the disk does not answer", ErrNotDurable)
		}
		if timer == nil {
			timer = time.NewTimer(s.o.patience)
			defer timer.Stop()
		}
		progress := s.progress
		s.mu.Unlock()
		select {
		case <-progress:
			s.mu.Lock()
		case <-timer.C:
			s.mu.Lock()
			if ok, err := ready(); ok {
				return err
			}
			if !s.stuck {
				s.stuck = true
				s.log.Warn("the disk does not answer; scrapes wait in memory")
			}
		}
	}
}

// kick wakes the goroutine that owns the disk.
func (s *Spool) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// changed tells every cursor.
func (s *Spool) changed() {
	for _, c := range s.cursors {
		select {
		case c.changedCh <- struct{}{}:
		default:
		}
	}
}

// trim lets go of scrapes that nobody will read from memory any more.
func (s *Spool) trim() {
	least := s.visible + 1
	for _, c := range s.cursors {
		if c.claimed && c.pos.Scrape < least {
			least = c.pos.Scrape
		}
	}
	n, bytes := 0, s.ring.bytes
	for _, e := range s.ring.entries {
		if s.dir != "" && e.seq > s.durable || e.seq > s.visible {
			break
		}
		left := len(s.ring.entries) - n
		if e.seq >= least && (s.dir == "" || left <= tailScrapes && (bytes <= tailBytes || left <= 2)) {
			break
		}
		n++
		bytes -= e.size
	}
	if n > 0 {
		s.ring.drop(n)
	}
}

// Err is nil while scrapes reach the disk; otherwise it says why they do not.
func (s *Spool) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case s.stuck:
		return fmt.Errorf("%w: the disk does not answer", ErrNotDurable)
	case s.cursorErr != nil:
		return fmt.Errorf("write the cursors: %w", s.cursorErr)
	}
	return nil
}

// Close syncs and closes the spool. It returns at ctx's deadline whether or not
// the disk answers.
func (s *Spool) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.kick()
	select {
	case <-s.done:
	case <-ctx.Done():
		return fmt.Errorf("close the spool: the disk does not answer: %w", context.Cause(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.cursors {
		if c.reading.TryLock() {
			c.reader.close()
			c.reading.Unlock()
		}
	}
	if err := errors.Join(s.err, s.cursorErr); err != nil && s.dir != "" {
		return fmt.Errorf("close the spool: %w", err)
	}
	return nil
}
