// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"hash/fnv"
	"time"
)

// Phase is where within the interval the target of that job and instance is
// scraped: a hash, so that a fleet's scrapes are spread evenly over the interval
// and each host keeps its place over restarts. It is a whole number of milliseconds.
func Phase(job, instance string, interval time.Duration) time.Duration {
	ms := uint64(interval.Milliseconds())
	if ms == 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(job))
	h.Write([]byte{0xff})
	h.Write([]byte(instance))
	// FNV alone spreads names that differ in the last character badly; this is the
	// finalizer of MurmurHash3.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return time.Duration(x%ms) * time.Millisecond
}

// NextTick is the first time of the grid after t: a whole number of intervals
// since the epoch, plus the phase. All three count in milliseconds.
func NextTick(t time.Time, interval, phase time.Duration) time.Time {
	step, ph := max(interval.Milliseconds(), 1), phase.Milliseconds()
	n := t.UnixMilli() - ph
	k := n / step
	if n%step < 0 {
		k--
	}
	return time.UnixMilli((k+1)*step + ph)
}

// snap returns the grid's time for a scrape that starts at t if that is close
// enough to it, 2 ms and at most 1 % of the interval, and t itself otherwise.
func snap(t, tick time.Time, interval time.Duration) time.Time {
	if d := t.Sub(tick).Abs(); d <= min(2*time.Millisecond, interval/100) {
		return tick
	}
	return t
}
