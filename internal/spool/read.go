// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/docker-remote-write/docker-remote-write/internal/panics"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// readTries is how often a segment that the disk refuses to read is tried again
// before what is left of it counts as unreadable.
const readTries = 3

// Read fills b with consecutive scrapes from that position on, which lies at or behind
// the cursor's, merged by series, within the limits and never across a step back of the clock.
// Nothing there is no error: b.To is then b.From. Where all that there is is damaged, b
// has no samples, and b.To lies behind the damage. Reading does not move the cursor. b
// and its memory are valid until the next Read with it.
//
// Read returns at ctx's end whether or not the disk answers; b belongs to the spool
// then, and must not be used again.
func (c *Cursor) Read(ctx context.Context, b *series.Batch, from series.Position, lim Limits) error {
	select {
	case c.reading <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("read at %v: the disk has not answered yet: %w", from, context.Cause(ctx))
	}
	read := make(chan error, 1)
	go func() {
		m := &merge{b: b, lim: lim, reader: &c.reader}
		var err error
		if panicked := panics.Guard("reading the spool", func() { err = c.fill(m, from) }); panicked != nil {
			err = panicked
		}
		c.look(m.seen)
		c.forget()
		c.reader.complete()
		if err == nil && from.Before(c.Position()) {
			err = ErrMoved
		}
		if err != nil {
			err = fmt.Errorf("read at %v: %w", from, err)
		}
		<-c.reading // before anybody acts on what was read: letGo passes by who reads
		read <- err
	}()
	select {
	case err := <-read:
		return err
	case <-ctx.Done():
		return fmt.Errorf("read at %v: the disk has not answered yet: %w", from, context.Cause(ctx))
	}
}

// fill reads until the batch is complete or nothing more may be read.
func (c *Cursor) fill(m *merge, from series.Position) error {
	m.reset(from)
	for {
		m.at = m.b.To
		v, next, done := c.step(m)
		if done {
			return nil
		}
		if v != nil {
			found, err := c.record(m, v)
			switch {
			case err != nil && (len(m.b.Times) > 0 || m.b.To != from):
				return nil // what there is goes first
			case err != nil:
				return err
			case found && m.complete:
				return nil
			case found:
				continue
			}
		}
		if next != nil {
			m.skip(*next)
		}
	}
}

// gap is what comes next where the scrape that was asked for is not there.
type gap struct {
	edge
	// lostFrom: the samples from that count on were dropped by the ring.
	lostFrom uint64
}

// step takes the next scrape from memory, or says in which segment it is, and what
// comes behind that; or, without a segment, what comes next. done: there is nothing
// more to be taken.
func (c *Cursor) step(m *merge) (v *segmentView, next *gap, done bool) {
	l := &c.s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.locate(m.at.Scrape)
	switch {
	case !ok:
		return nil, nil, true
	case p.view != nil:
		return p.view, &gap{p.view.next, p.view.lostFrom}, false
	case p.entry == nil:
		return nil, &gap{p.next, p.lostFrom}, false
	}
	e := p.entry
	if c.reader.fails = 0; c.reader.sc.f != nil {
		c.reader.close()
	}
	return nil, nil, m.add(&e.Scrape, e.seq, e.cum, e.epoch)
}

// record takes the next scrape from a segment; found is false if that has no more, or
// cannot be read.
func (c *Cursor) record(m *merge, v *segmentView) (found bool, err error) {
	r := &c.reader
	ok, err := r.seek(v, m.at.Scrape)
	if err != nil {
		return false, c.refuse(v, err)
	}
	r.fails = 0
	if !ok {
		if r.cur.seq > 0 {
			// At its end, and there were records: it was read, and is ours.
			c.setRefused(v.seg, false)
		}
		return false, nil
	}
	cum := v.within(r.cur.cum)
	if r.cur.seq != m.at.Scrape {
		m.skip(gap{edge{r.cur.seq, cum, r.cur.time}, cum})
	}
	m.complete = m.add(&r.dec.scrape, r.cur.seq, cum, v.seg.epoch)
	if b := m.b; b.To.Ordinal == 0 {
		b.To.Count = v.within(b.To.Count)
	}
	return true, nil
}

// refuse deals with a disk that refuses to read a segment: after some tries it counts
// as unreadable.
func (c *Cursor) refuse(v *segmentView, err error) error {
	l := &c.s.log
	l.mu.Lock()
	gone := !l.has(v.seg)
	l.mu.Unlock()
	if gone {
		return ErrMoved
	}
	if errors.Is(err, fs.ErrNotExist) {
		l.missing(v.seg, err)
		return nil
	}
	if exhausted(err) {
		return err
	}
	if c.reader.fails++; c.reader.fails <= readTries {
		return err
	}
	c.s.o.Log.WithError(err).WithField("path", v.seg.path).Error("a segment cannot be read; it counts as unreadable, and its file is kept")
	c.reader.fails = 0
	c.setRefused(v.seg, true)
	return nil
}

func (c *Cursor) setRefused(g *segment, refused bool) {
	c.s.log.mu.Lock()
	defer c.s.log.mu.Unlock()
	g.refused = refused
}

// exhausted reports whether an error says something of the process or the machine,
// and nothing of the file: it is no reason to give up a segment, however often it comes.
func exhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// within is a count in the segment, and no more than the one in front of what
// follows: a segment whose end could not be read at a start may hold samples that
// the books know nothing of. They are sent, and not counted.
func (v *segmentView) within(cum uint64) uint64 {
	if v.loose {
		return cum
	}
	return min(cum, v.next.cum)
}

// look notes the times of scrapes, so that Backlog knows them when the cursor is there.
func (c *Cursor) look(at [2]edge) {
	c.s.table.mu.Lock()
	c.seen = at
	c.s.table.mu.Unlock()
}
