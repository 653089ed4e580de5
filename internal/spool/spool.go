// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/panics"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

const (
	// defaultRing is RingBytes where that is 0.
	defaultRing = 2 << 20
	// patience is how long Append, Begin and Ack wait for the disk at most.
	patience = 2 * time.Second
	// retryAfter is when a write that failed is made again if no scrape comes before.
	retryAfter = 5 * time.Second
)

// Spool is the queue: the log of the scrapes, and the table of the cursors. What
// concerns both is here and in room.go: a scrape is appended, a place in the log is
// given up, a cursor is claimed. Where both locks are held, the table's was taken first.
//
// Append is for any goroutine, the scrapes of a target in the order of their times; each
// Cursor is for one.
type Spool struct {
	o     Options
	fs    fileOps
	lock  *os.File
	clock clock
	log   log
	table table
	// writer belongs to run.
	writer writer

	// crashing: the end is a crash, nothing more is written. It is the tests'.
	crashing atomic.Bool
	wake     chan struct{}
	done     chan struct{}
}

func newSpool(o Options) *Spool {
	if o.Log == nil {
		l := logrus.New()
		l.SetOutput(nowhere{})
		o.Log = l
	}
	if o.Series == nil {
		o.Series = series.NewRegistry()
	}
	if o.RingBytes <= 0 {
		o.RingBytes = defaultRing
	}
	if o.patience <= 0 {
		o.patience = patience
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.ran == nil {
		began := time.Now()
		o.ran = func() time.Duration { return time.Since(began) }
	}
	s := &Spool{o: o, fs: fileOps{hook: o.hook}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	s.clock.now, s.clock.ran, s.clock.counted = o.now, o.ran, o.ran()
	start := edge{seq: 1}
	s.log = log{o: &s.o, fs: &s.fs, reg: o.Series, durable: start, visible: start, progress: make(chan struct{})}
	s.writer = writer{log: &s.log, fs: &s.fs}
	return s
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

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
		s.table.file.close()
		err = fmt.Errorf("open the spool in %s: %w", dir, err)
		s = newSpool(o)
		s.log.err = fmt.Errorf("%w: %w", ErrNotDurable, err)
		close(s.done)
		return s, err
	}
	panics.Go(s.o.Log, "writing the spool", s.run)
	return s, nil
}

// Append stores a scrape and returns its position. When err is nil it is on disk
// and synced; when err wraps ErrNotDurable it is in the memory ring, because the disk
// refuses, or had not answered when its patience or ctx ended. The scrape is copied,
// its series are held for as long as they are needed. One that is not later than the one
// before of its target says that the clock was set back.
func (s *Spool) Append(ctx context.Context, sc *series.Scrape) (series.Position, error) {
	if n := len(sc.Series); len(sc.Values) != n || len(sc.Starts) != 0 && len(sc.Starts) != n {
		return series.Position{}, fmt.Errorf("append a scrape: %d series, %d values, %d start timestamps", n, len(sc.Values), len(sc.Starts))
	}
	if sc.Target >= MaxTargets {
		return series.Position{}, fmt.Errorf("append a scrape: target %d, the numbers end at %d", sc.Target, MaxTargets-1)
	}
	e, err := s.log.push(sc)
	if err != nil {
		return series.Position{}, err
	}
	p := series.Position{Scrape: e.seq, Count: e.cum}
	s.overflow()
	if s.log.dir == "" {
		err = s.Err()
	} else {
		s.kick()
		err = s.await(ctx, func() (bool, error) { return s.log.settled(p.Scrape) })
	}
	if err != nil {
		s.log.release(p.Scrape)
		s.trim()
	}
	s.table.notify()
	return p, err
}

// trim drops from memory what every cursor has passed.
func (s *Spool) trim() {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.log.trim(s.table.least(s.log.visible.position()))
}

// await waits until something has come about that the goroutine with the disk does. It
// returns an error that wraps ErrNotDurable when its patience ends, or with ctx.
func (s *Spool) await(ctx context.Context, ready func() (bool, error)) error {
	var impatient <-chan time.Time
	for {
		progress, stuck, waits := s.log.watch()
		if ok, err := ready(); ok {
			return err
		}
		if stuck {
			return fmt.Errorf("%w: the disk does not answer", ErrNotDurable)
		}
		if impatient == nil {
			t := time.NewTimer(waits)
			defer t.Stop()
			impatient = t.C
		}
		select {
		case <-progress:
		case <-impatient:
			if ok, err := ready(); ok {
				return err
			}
			s.log.giveUp()
		case <-ctx.Done():
			if ok, err := ready(); ok {
				return err
			}
			return fmt.Errorf("%w: the disk has not answered yet: %w", ErrNotDurable, context.Cause(ctx))
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

// Err is nil while scrapes reach the disk; otherwise it says why they do not.
func (s *Spool) Err() error {
	s.table.mu.Lock()
	cursors := s.table.err
	s.table.mu.Unlock()
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	switch {
	case s.log.err != nil:
		return s.log.err
	case s.log.stuck:
		return fmt.Errorf("%w: the disk does not answer", ErrNotDurable)
	case cursors != nil:
		return fmt.Errorf("write the cursors: %w", cursors)
	}
	return nil
}

// Close syncs and closes the spool. It returns at ctx's deadline whether or not
// the disk answers.
func (s *Spool) Close(ctx context.Context) error {
	s.log.mu.Lock()
	s.log.closing = true
	s.log.mu.Unlock()
	s.kick()
	select {
	case <-s.done:
	case <-ctx.Done():
		return fmt.Errorf("close the spool: the disk does not answer: %w", context.Cause(ctx))
	}
	for _, c := range s.all() {
		c.letGo()
	}
	s.log.mu.Lock()
	err := s.log.err
	s.log.mu.Unlock()
	if err = errors.Join(err, s.cursorErr()); err != nil && s.log.dir != "" {
		return fmt.Errorf("close the spool: %w", err)
	}
	return nil
}

// all are the cursors there are.
func (s *Spool) all() []*Cursor {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	return append([]*Cursor(nil), s.table.cursors...)
}

func (s *Spool) cursorErr() error {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	return s.table.err
}
