// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"fmt"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Cursor is one endpoint's place in the queue. Its methods are for one goroutine, but
// those without a context are for any.
type Cursor struct {
	s *Spool
	// pair is the cursor's place in the cursor file.
	pair int

	// The table's lock guards the next ones. claimed: an endpoint has it.
	state   cursorState
	claimed bool
	// pin ends the range of the attempt that is under way, from the cursor on; zero
	// for none.
	pin series.Position
	// version grows with each change; tried is the one that was last handed to the
	// disk, saved the one that is there.
	version, tried, saved uint64
	// seen are the first and the last scrape that the last read looked at, so that their
	// times are known.
	seen [2]edge

	changed chan struct{}
	// reading is held by whoever reads for the cursor, and guards the reader.
	reading chan struct{}
	reader  reader
}

// cursorState is what is kept of a cursor on disk.
type cursorState struct {
	name              string
	nameHash, urlHash [16]byte
	// pos is where the next sample stands of which nothing is known yet.
	pos  series.Position
	note Note
	// created is the count at which the cursor was made.
	created uint64
	// unclaimed is when, in milliseconds, no endpoint wanted the cursor any more,
	// 0 while one does; idle for how long the process has run since then.
	unclaimed int64
	idle      time.Duration
	tally     series.Tally
}

func newCursor(s *Spool, pair int) *Cursor {
	c := &Cursor{s: s, pair: pair, changed: make(chan struct{}, 1), reading: make(chan struct{}, 1)}
	c.reader.s = s
	return c
}

// Name is the endpoint's name.
func (c *Cursor) Name() string { return c.snapshot().name }

// Position is where the next unacknowledged sample stands.
func (c *Cursor) Position() series.Position { return c.snapshot().pos }

// Note is what was last kept beside the cursor, by Begin or Ack.
func (c *Cursor) Note() Note { return c.snapshot().note }

// Tally is what became of the cursor's samples since it was made, over restarts.
func (c *Cursor) Tally() series.Tally { return c.snapshot().tally }

// Changed receives after something was appended or evicted. It never closes.
func (c *Cursor) Changed() <-chan struct{} { return c.changed }

func (c *Cursor) snapshot() cursorState {
	c.s.table.mu.Lock()
	defer c.s.table.mu.Unlock()
	return c.state
}

// Appended counts the samples appended since the cursor was made, over restarts.
func (c *Cursor) Appended() uint64 { return less(c.s.log.readable().cum, c.snapshot().created) }

// Backlog is what waits beyond the cursor. It never waits for the disk.
func (c *Cursor) Backlog() Backlog {
	c.s.table.mu.Lock()
	pos, seen := c.state.pos, c.seen
	c.s.table.mu.Unlock()
	l := &c.s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	b := Backlog{Samples: less(l.visible.cum, pos.Count), Scrapes: less(l.visible.seq, pos.Scrape)}
	b.Scrapes = min(b.Scrapes, b.Samples)
	for i, g := range l.segs {
		if i+1 == len(l.segs) && pos.Scrape < l.durable.seq || i+1 < len(l.segs) && l.segs[i+1].first > pos.Scrape {
			b.Bytes += g.size
		}
	}
	switch {
	case b.Samples == 0:
	case seen[0].seq == pos.Scrape:
		b.Oldest = seen[0].time
	case seen[1].seq == pos.Scrape:
		b.Oldest = seen[1].time
	default:
		b.Oldest = l.timeOf(pos.Scrape)
	}
	return b
}

// less is a - b, and 0 where that would be negative: a count that is off by some must
// not become one of 20 digits.
func less(a, b uint64) uint64 { return a - min(a, b) }

// change changes the state of a cursor that stands at from, and waits until the disk
// was asked to keep it. If the disk keeps us waiting, it is written later.
func (c *Cursor) change(ctx context.Context, from series.Position, f func(*cursorState) error) error {
	s := c.s
	s.table.mu.Lock()
	if c.state.pos != from {
		s.table.mu.Unlock()
		return fmt.Errorf("%s at %v: %w", c.state.name, from, ErrMoved)
	}
	err := f(&c.state)
	c.version++
	v := c.version
	s.table.mu.Unlock()
	if s.log.dir != "" {
		s.kick()
		_ = s.await(ctx, func() (bool, error) {
			s.table.mu.Lock()
			defer s.table.mu.Unlock()
			return c.tried >= v, nil
		})
	}
	return err
}

// Begin says that the samples from one position, where the cursor must stand, to
// another are about to leave. It evicts what is due, keeps that range until End,
// however old or large the queue gets, and stores the note before it returns.
func (c *Cursor) Begin(ctx context.Context, from, to series.Position, n Note) error {
	c.s.makeRoom()
	return c.change(ctx, from, func(st *cursorState) error {
		st.note, c.pin = n, to
		return nil
	})
}

// End says that the attempt is over, whatever came of it. What has become due to be
// evicted goes.
func (c *Cursor) End() {
	c.s.table.mu.Lock()
	was := c.pin
	c.pin = series.Position{}
	c.s.table.mu.Unlock()
	if was != (series.Position{}) && c.s.makeRoom() {
		c.s.kick()
	}
}

// Ack moves the cursor from one position, where it must stand, to another, and adds
// what became of the samples in between. Where the tally does not add up to them the
// cursor moves all the same, and the difference is booked as unreadable, or taken
// from what was delivered; the error says so. The move is stored together with the
// tally and the note; if the disk refuses, Err says so, and a crash would make the
// samples be sent again.
func (c *Cursor) Ack(ctx context.Context, from, to series.Position, t series.Tally, n Note) error {
	err := c.change(ctx, from, func(st *cursorState) error {
		if to.Before(from) || to.Count < from.Count {
			return c.wrong("acknowledges up to %v from %v on", to, from)
		}
		var err error
		want, sum := to.Count-from.Count, t.Sum()
		switch {
		case sum < want:
			err = c.wrong("leaves out %d of the samples up to %v", want-sum, to)
			t.Lost[series.Unreadable] += want - sum
		case sum > want:
			err = c.wrong("books %d samples too many up to %v", sum-want, to)
			t = series.Tally{Delivered: min(t.Delivered, want), Lost: [series.Losses]uint64{series.Unreadable: less(want, t.Delivered)}}
		}
		st.tally.Add(t)
		st.pos, st.note = to, n
		return err
	})
	c.s.trim()
	return err
}
