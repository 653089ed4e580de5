// SPDX-License-Identifier: Apache-2.0

// Package spool is the queue between the scraper and the senders: one FIFO of
// scrapes and, for each endpoint, a cursor into it. This form keeps the queue in
// memory; the durable one has the same functions.
package spool

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// ErrNotDurable is wrapped by Append's error when the scrape could not be written
// to disk and waits in the bounded memory ring instead. It will be sent all the
// same; only a crash loses it.
var ErrNotDurable = errors.New("the scrape is in memory only")

// Options of a spool. The zero value of a limit means none.
type Options struct {
	// MaxBytes caps what the spool takes on disk; the oldest segment goes first.
	MaxBytes int64
	// MaxAge drops segments whose newest scrape is older.
	MaxAge time.Duration
	// RingBytes caps the memory ring that holds scrapes while the disk refuses them.
	RingBytes int
	// Instance is the host's name in the series; a stored spool of another
	// instance and another engine is set aside as foreign.
	Instance string
	// Log takes what an operator must know: damage, evictions, a refusing disk.
	Log logrus.FieldLogger
}

// Endpoint names a claim to a cursor. URL carries no user info; a hash is stored.
type Endpoint struct{ Name, URL string }

// Limits bound one Read.
type Limits struct {
	// Scrapes and Samples are upper bounds, 0 for none. At least one sample is
	// read if there is any.
	Scrapes, Samples int
	// Before, in milliseconds, ends the batch in front of the first scrape with
	// that time or a later one, unless it would be the first of the batch. 0 for none.
	Before int64
}

// Backlog is what waits beyond a cursor.
type Backlog struct {
	Scrapes, Samples uint64
	// Bytes on disk from the cursor's segment on; shared with other cursors.
	Bytes int64
	// Oldest is the time of the oldest waiting scrape in milliseconds, 0 for none.
	Oldest int64
}

// Spool is the queue. Append is for one goroutine; each Cursor is for one other.
type Spool struct {
	mu      sync.Mutex
	scrapes []*series.Scrape
	cursors []*Cursor
}

// Open opens or creates the spool in dir.
func Open(dir string, o Options) (*Spool, error) { return &Spool{}, nil }

// Append stores a scrape and returns its position. When err is nil it is on disk
// and synced; when err wraps ErrNotDurable it is in the memory ring. The scrape is
// copied, its Series pointers are kept.
func (s *Spool) Append(sc *series.Scrape) (series.Position, error) {
	c := *sc
	c.Series = append([]*series.Series(nil), sc.Series...)
	c.Values = append([]float64(nil), sc.Values...)
	c.Starts = append([]int64(nil), sc.Starts...)
	c.Histograms = append([]series.Histogram(nil), sc.Histograms...)
	c.Exemplars = append([]series.Exemplar(nil), sc.Exemplars...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scrapes = append(s.scrapes, &c)
	for _, k := range s.cursors {
		k.appended += uint64(c.Len())
		select {
		case k.changed <- struct{}{}:
		default:
		}
	}
	return series.Position{Scrape: uint64(len(s.scrapes))}, nil
}

// Claim gives each endpoint its cursor, in the order given: a stored one by name,
// else by an identical URL; if then one endpoint and one stored cursor remain,
// they belong together. Any other endpoint starts behind the newest scrape. It is
// called again when the endpoints change; a cursor keeps its identity.
func (s *Spool) Claim(eps []Endpoint) ([]*Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*Cursor
	for _, e := range eps {
		c := &Cursor{s: s, name: e.Name, changed: make(chan struct{}, 1)}
		c.pos = series.Position{Scrape: uint64(len(s.scrapes)) + 1}
		out = append(out, c)
	}
	s.cursors = out
	return out, nil
}

// Err is nil while scrapes reach the disk; otherwise it says why they do not.
func (s *Spool) Err() error { return nil }

// Close syncs and closes the spool. It returns at ctx's deadline whether or not
// the disk answers.
func (s *Spool) Close(ctx context.Context) error { return nil }

// Cursor is one endpoint's place in the queue.
type Cursor struct {
	s        *Spool
	name     string
	pos      series.Position
	appended uint64
	tally    series.Tally
	inflight series.Position
	changed  chan struct{}
}

// Name is the endpoint's name.
func (c *Cursor) Name() string { return c.name }

// Changed receives after something was appended or evicted. It never closes.
func (c *Cursor) Changed() <-chan struct{} { return c.changed }

// Position is where the next unacknowledged sample stands.
func (c *Cursor) Position() series.Position {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.pos
}

// Read fills b with consecutive scrapes from that position on, merged by series,
// within the limits and never across a clock mark. Nothing there is no error:
// b.To is then b.From. Reading does not move the cursor. b and its memory are
// valid until the next Read with it.
func (c *Cursor) Read(b *series.Batch, from series.Position, lim Limits) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	*b = series.Batch{From: from, To: from}
	index := map[*series.Series]int{}
	for ; b.To.Scrape <= uint64(len(c.s.scrapes)); b.To = (series.Position{Scrape: b.To.Scrape + 1}) {
		sc := c.s.scrapes[b.To.Scrape-1]
		if len(b.Times) > 0 && (lim.Before != 0 && sc.Time >= lim.Before || sc.Time <= b.Times[len(b.Times)-1]) {
			return nil
		}
		if lim.Scrapes > 0 && len(b.Times) == lim.Scrapes || lim.Samples > 0 && b.Samples >= lim.Samples {
			return nil
		}
		b.Times = append(b.Times, sc.Time)
		for i := int(b.To.Ordinal); i < len(sc.Series); i++ {
			if lim.Samples > 0 && b.Samples == lim.Samples {
				b.To.Ordinal = uint32(i)
				return nil
			}
			r, ok := index[sc.Series[i]]
			if !ok {
				r = len(b.Rows)
				index[sc.Series[i]] = r
				b.Rows = append(b.Rows, series.Row{Series: sc.Series[i]})
			}
			smp := series.Sample{T: sc.Time, V: sc.Values[i]}
			if len(sc.Starts) > 0 {
				smp.Start = sc.Starts[i]
			}
			b.Rows[r].Samples = append(b.Rows[r].Samples, smp)
			b.Samples++
		}
	}
	return nil
}

// Begin notes, unsynced, that the range up to that position is about to be sent:
// after a crash InFlight tells it, and while it is in flight evicting its segment
// does not count it as lost.
func (c *Cursor) Begin(to series.Position) error { c.inflight = to; return nil }

// InFlight is the end of the range that was in flight when the process last
// ended, until the first Begin or Ack.
func (c *Cursor) InFlight() (series.Position, bool) { return series.Position{}, false }

// Ack moves the cursor to that position, which lies at or behind it, and adds
// what became of the samples in between. Samples that the tally leaves out are an
// error. The move is persisted with the tally.
func (c *Cursor) Ack(to series.Position, t series.Tally) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.pos, c.inflight = to, series.Position{}
	c.tally.Add(t)
	return nil
}

// Backlog is what waits beyond the cursor.
func (c *Cursor) Backlog() Backlog {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	var b Backlog
	for i := c.pos.Scrape; i <= uint64(len(c.s.scrapes)); i++ {
		if b.Oldest == 0 {
			b.Oldest = c.s.scrapes[i-1].Time
		}
		b.Scrapes++
		b.Samples += uint64(c.s.scrapes[i-1].Len())
	}
	return b
}

// Tally is what became of the cursor's samples since it was made, and Appended
// how many there were, both over restarts.
func (c *Cursor) Tally() series.Tally { return c.tally }

// Appended counts the samples appended since the cursor was made, over restarts.
func (c *Cursor) Appended() uint64 { return c.appended }
