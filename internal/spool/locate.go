// SPDX-License-Identifier: Apache-2.0

package spool

import "slices"

// segmentView is a segment as a reader may see it: up to end bytes, and the scrapes
// before next. What stands in it from there on is in a later segment too, or was
// never acknowledged as written.
type segmentView struct {
	seg *segment
	end int64
	// next is what follows; the samples before it from lostFrom on were dropped by the
	// ring. With loose its count is a guess.
	next     edge
	lostFrom uint64
	loose    bool
}

// spot says where a scrape is: in the ring, in a segment, or, where there is none
// with that number, what comes next.
type spot struct {
	entry    *entry
	view     *segmentView
	next     edge
	lostFrom uint64
}

// locate finds the scrape; ok is false if it may not be read yet. It is called with
// the lock held.
func (l *log) locate(seq uint64) (p spot, ok bool) {
	if seq >= l.visible.seq {
		return spot{}, false
	}
	if e := l.ring.get(seq); e != nil {
		return spot{entry: e}, true
	}
	after, _ := slices.BinarySearchFunc(l.segs, seq, func(g *segment, seq uint64) int {
		if g.first <= seq {
			return -1
		}
		return 1
	})
	next := l.behind(after)
	if e := l.ring.entries; len(e) > 0 && e[0].seq > seq && (after == len(l.segs) || e[0].seq <= next.next.seq) {
		next.next, next.lostFrom = edge{e[0].seq, e[0].cum, e[0].Time}, e[0].lostFrom
	}
	if after > 0 && seq < next.next.seq {
		g := l.segs[after-1]
		next.seg, next.end = g, g.size
		return spot{view: &next}, true
	}
	return spot{next: next.next, lostFrom: next.lostFrom}, true
}

// behind is what follows the first n segments.
func (l *log) behind(n int) segmentView {
	if n < len(l.segs) {
		g := l.segs[n]
		return segmentView{next: edge{g.first, g.cum, g.time}, lostFrom: g.lostFrom, loose: g.guessed}
	}
	return segmentView{next: l.durable, lostFrom: l.durable.cum}
}

// timeOf is the time of that scrape as far as memory has it: where it lies in the
// middle of a segment, that of the segment's first.
func (l *log) timeOf(seq uint64) int64 {
	p, ok := l.locate(seq)
	switch {
	case !ok:
		return 0
	case p.entry != nil:
		return p.entry.Time
	case p.view != nil:
		return p.view.seg.time
	}
	return p.next.time
}
