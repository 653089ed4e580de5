// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"slices"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

const (
	// tailScrapes and tailBytes bound what is kept of scrapes that are on disk, so
	// that an endpoint that is up to date is served without reading them back. The
	// newest two are kept until all have them, whatever their size.
	tailScrapes = 8
	tailBytes   = 256 << 10
)

// entry is one scrape in memory. It does not change from when it enters the ring
// until it is recycled.
type entry struct {
	columns
	seq, cum uint64
	time     int64
	// mark: the clock was set back in front of it; epoch counts the marks so far.
	mark  bool
	epoch uint64
	// busy entries are being written; they are not recycled.
	busy bool
	size int
}

// ring holds the newest scrapes, oldest first, with consecutive sequence numbers:
// the last few that are on disk, and all that are not yet.
type ring struct {
	entries []*entry
	bytes   int
	free    []*entry
}

// take gives an empty entry.
func (r *ring) take() *entry {
	if n := len(r.free); n > 0 {
		e := r.free[n-1]
		r.free = r.free[:n-1]
		return e
	}
	return &entry{}
}

func (r *ring) push(e *entry) {
	e.size = 8*len(e.values) + 8*len(e.starts) + 256*len(e.histograms) + 128*len(e.exemplars)
	if n := len(r.entries); n == 0 || !sameColumn(r.entries[n-1].series, e.series) {
		e.size += 8 * len(e.series)
	}
	r.entries = append(r.entries, e)
	r.bytes += e.size
}

// drop removes the oldest n entries.
func (r *ring) drop(n int) {
	for _, e := range r.entries[:n] {
		r.bytes -= e.size
		if e.busy || len(r.free) >= 2 {
			continue
		}
		clear(e.histograms)
		clear(e.exemplars)
		e.series = nil
		e.histograms, e.exemplars = e.histograms[:0], e.exemplars[:0]
		r.free = append(r.free, e)
	}
	k := copy(r.entries, r.entries[n:])
	clear(r.entries[k:])
	r.entries = r.entries[:k]
}

// get gives the entry with that sequence number or nil.
func (r *ring) get(seq uint64) *entry {
	if len(r.entries) == 0 || seq < r.entries[0].seq || seq-r.entries[0].seq >= uint64(len(r.entries)) {
		return nil
	}
	return r.entries[seq-r.entries[0].seq]
}

// column finds the one pointer for each series of a scrape. Scrape after scrape
// the scraper mostly gives the same pointers in the same order: then the column of
// the scrape before is used again, and no series is looked up.
type column struct {
	// raw are the pointers as the scraper gave them, canon what stands for them: most
	// often the same.
	raw, canon []*series.Series
}

func (c *column) of(in []*series.Series, t *interner) []*series.Series {
	if len(in) == len(c.raw) {
		same := true
		for i, s := range in {
			if s != c.raw[i] {
				same = false
				break
			}
		}
		if same {
			return c.canon
		}
	}
	out := make([]*series.Series, len(in))
	j := 0
	for i, s := range in {
		// A few series that went away are stepped over; of those that came the
		// place in the old column stays.
		const reach = 8
		k := j
		for k < len(c.raw) && k < j+reach && c.raw[k] != s {
			k++
		}
		if k < len(c.raw) && c.raw[k] == s {
			out[i], j = c.canon[k], k+1
			continue
		}
		out[i] = t.lookup(s, true)
	}
	if c.canon = out; slices.Equal(in, out) {
		c.raw = out
	} else {
		c.raw = slices.Clone(in)
	}
	return out
}
