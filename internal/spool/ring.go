// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"math"
	"slices"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

const (
	// tailScrapes, of each target, and tailBytes bound what is kept of scrapes that are on
	// disk, so that an endpoint that is up to date is served without reading them back. A
	// target's newest two are kept until all have them, whatever their size.
	tailScrapes = 8
	tailBytes   = 256 << 10
)

// MaxTargets is the number of targets whose scrapes one queue takes.
const MaxTargets = 32

// entry is one scrape in memory. Apart from lostFrom it does not change from when it
// enters the ring until it is recycled.
type entry struct {
	series.Scrape
	column   *column
	seq, cum uint64
	// setBack: the clock was set back in front of it; epoch counts how often so far. ahead
	// is by how much the latest scrape since then is later.
	setBack bool
	epoch   uint64
	ahead   uint32
	// lostFrom: the samples from that count on that are missing in front of it were
	// dropped by the ring; cum where there are none.
	lostFrom uint64
	// busy entries are being written; they are not recycled.
	busy bool
	size int
}

// end is the count behind the scrape.
func (e *entry) end() uint64 { return e.cum + uint64(e.Len()) }

// column is the series of scrapes of a target that follow one another and have the same
// ones. It holds them for as long as a scrape in the ring uses it, or the next one may.
type column struct {
	series []*series.Series
	users  int
}

func (c *column) leave(reg *series.Registry) {
	if c.users--; c.users == 0 {
		reg.Release(c.series)
	}
}

// others are the series that are in no column: those of the native histograms.
func (e *entry) others() []*series.Series {
	var out []*series.Series
	for i := range e.Histograms {
		out = append(out, e.Histograms[i].Series)
	}
	return out
}

// ring holds the newest scrapes, oldest first, with consecutive sequence numbers:
// the last few that are on disk, and all that are not yet.
type ring struct {
	entries []*entry
	bytes   int
	spare   *entry
	// tails are the targets' by their numbers.
	tails [MaxTargets]tail
}

// tail is what the next scrape of a target is compared with: the column of the last one,
// nil before the first, and its time, 0 where there is none since the clock was set back.
type tail struct {
	column *column
	time   int64
}

// push appends a copy of the scrape, and holds its series.
func (r *ring) push(sc *series.Scrape, reg *series.Registry) *entry {
	e := r.spare
	if r.spare = nil; e == nil {
		e = &entry{}
	}
	e.Target, e.Time = sc.Target, sc.Time
	e.Values = append(e.Values[:0], sc.Values...)
	e.Starts = append(e.Starts[:0], sc.Starts...)
	e.Histograms = append(e.Histograms[:0], sc.Histograms...)
	reg.Hold(e.others())
	e.Exemplars = e.Exemplars[:0]
	for _, x := range sc.Exemplars {
		if x.Index >= 0 && x.Index < sc.Len() {
			e.Exemplars = append(e.Exemplars, x)
		}
	}
	e.size = 8*len(e.Values) + 8*len(e.Starts) + 256*len(e.Histograms) + 128*len(e.Exemplars)
	t := &r.tails[sc.Target]
	if t.column == nil || !slices.Equal(t.column.series, sc.Series) {
		if t.column != nil {
			t.column.leave(reg)
		}
		t.column = &column{series: slices.Clone(sc.Series), users: 1}
		reg.Hold(t.column.series)
		e.size += 8 * len(sc.Series)
	}
	e.column = t.column
	e.column.users++
	e.Series = e.column.series
	r.entries = append(r.entries, e)
	r.bytes += e.size
	return e
}

// stamp notes the time of a scrape. One that is not later than the one before of its
// target says that the clock was set back, and so it was for all of them.
func (r *ring) stamp(e *entry) {
	last := r.tails[e.Target].time
	if e.setBack = last != 0 && e.Time <= last; e.setBack {
		r.restart(0)
	}
	latest := e.Time
	for i := range r.tails {
		latest = max(latest, r.tails[i].time)
	}
	e.ahead = uint32(min(latest-e.Time, math.MaxUint32))
	r.tails[e.Target].time = e.Time
}

// restart is what is known before the first scrapes: none is older than that time.
func (r *ring) restart(time int64) {
	for i := range r.tails {
		r.tails[i].time = time
	}
}

// newest reports whether an entry is one of the newest of its target, where so many bytes
// are in the ring from there on. A target that is scraped rarely keeps no more of the
// others' than they have a right to.
func (r *ring) newest(at, bytes int) bool {
	most := tailScrapes
	if bytes > tailBytes {
		most = 2
	}
	targets, own := 0, 0
	for i := range r.tails {
		if r.tails[i].column != nil {
			targets++
		}
	}
	rest := r.entries[at:]
	if len(rest) > most*targets {
		return false
	}
	for _, e := range rest {
		if e.Target == rest[0].Target {
			own++
		}
	}
	return own <= most
}

// drop removes the oldest n entries, and gives up the series that no other one has.
func (r *ring) drop(n int, reg *series.Registry) {
	for _, e := range r.entries[:n] {
		r.bytes -= e.size
		reg.Release(e.others())
		e.column.leave(reg)
		if e.busy || r.spare != nil {
			continue
		}
		clear(e.Histograms)
		clear(e.Exemplars)
		e.Series, e.column = nil, nil
		r.spare = e
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
