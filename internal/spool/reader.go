// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// reader reads the segments behind one cursor: at most one file, one dictionary
// and one scrape at a time.
type reader struct {
	s   *Spool
	sc  scanner
	dec decoder
	// cur is the record that was read last, without its body; zero before the first of a
	// segment. good: dec has its scrape.
	cur  frame
	good bool
	// rows are the rows of a batch by the series' numbers, times that of the last scrape of
	// each target in it, 0 for none.
	rows  []uint32
	times [MaxTargets]int64
	// left are the series of the segments that the batch in work has gone through. They
	// are held until it is complete, so that the next segment's are the very same.
	left []defined
	// fails counts the times in a row that the disk refused.
	fails int
}

// seek brings the reader to the first readable scrape at or behind seq; ok is
// false if the segment has none.
func (r *reader) seek(v *segmentView, seq uint64) (ok bool, err error) {
	if r.sc.f == nil || r.sc.seg != v.seg || r.cur.seq > seq || r.cur.seq == seq && !r.good {
		if err := r.open(v); err != nil {
			return false, err
		}
	}
	r.sc.end = v.end
	for r.cur.seq < seq || !r.good {
		f, damage, err := r.sc.next()
		if damage > 0 {
			r.dec.missed()
			r.s.log.damaged(v.seg, r.sc.off-int64(f.size)-damage, damage, nil)
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			r.close()
			return false, err
		}
		if f.seq >= v.next.seq {
			r.sc.off = f.offset
			return false, nil
		}
		if r.good, err = r.dec.decode(&f, r.s.o.Series); err != nil {
			r.s.log.damaged(v.seg, f.offset, int64(f.size), err)
		}
		// The body points into the scanner's buffer.
		f.body = nil
		r.cur = f
	}
	return true, nil
}

func (r *reader) open(v *segmentView) error {
	r.close()
	f, err := r.s.fs.open(opSegmentOpen, v.seg.path, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("read the spool: %w", err)
	}
	r.sc.fs = &r.s.fs
	r.sc.reset(f, v.seg, v.end)
	return nil
}

// close lets go of the file and of what is known of its series.
func (r *reader) close() {
	if r.sc.f != nil {
		r.sc.f.Close()
	}
	r.sc.f, r.sc.seg, r.cur, r.good = nil, nil, frame{}, false
	r.left = r.dec.reset(r.left)
	if cap(r.sc.buf) > keepBuffer {
		r.sc.buf, r.sc.bufOff = nil, 0
	}
	if cap(r.dec.body) > keepBuffer {
		r.dec.body = nil
	}
}

// complete gives up the series of what was closed since the batch began.
func (r *reader) complete() {
	releaseAll(r.s.o.Series, r.left)
	r.left = nil
}

// letGo closes a cursor's file if nobody will come back for it: no endpoint claims the
// cursor, or the segment is the log's no more, and as long as it is open the disk keeps
// it. While somebody reads, it is he who does so at his end.
func (c *Cursor) letGo() {
	select {
	case c.reading <- struct{}{}:
		c.forget()
		c.reader.complete()
		<-c.reading
	default:
	}
}

// forget does that for whoever reads.
func (c *Cursor) forget() {
	r := &c.reader
	if r.sc.f == nil {
		return
	}
	c.s.table.mu.Lock()
	claimed := c.claimed
	c.s.table.mu.Unlock()
	c.s.log.mu.Lock()
	gone := c.s.log.closing || !c.s.log.has(r.sc.seg)
	c.s.log.mu.Unlock()
	if gone || !claimed {
		r.close()
	}
}

// letGo makes every cursor do so.
func (s *Spool) letGo() {
	for _, c := range s.all() {
		c.letGo()
	}
}
