// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"sync"
	"sync/atomic"
)

// Room is the memory that all targets of a process share: their bodies, and what it
// takes to parse one of them. Half of the bytes is shared out evenly, so that no target
// lacks its part because of another; the other half is for whoever needs more.
type Room struct {
	share int64 // of each target
	most  int64 // that one target may have
	free  atomic.Int64
	// parsing is held by the one that parses.
	parsing sync.Mutex
}

// NewRoom is that of as many targets, whose bodies may have maxBytes together.
func NewRoom(maxBytes int64, targets int) *Room {
	r := &Room{share: maxBytes}
	if targets > 1 {
		r.share = maxBytes / 2 / int64(targets)
		r.free.Store(maxBytes / 2)
	}
	r.most = r.share + r.free.Load()
	return r
}

// beyond is what a buffer of n bytes takes beyond a target's share. The two bytes
// that a buffer has behind a body do not count.
func (r *Room) beyond(n int64) int64 { return max(0, n-r.share-2) }

// take takes n bytes of what is free, or gives them back. It reports whether there were
// that many.
func (r *Room) take(n int64) bool {
	if r.free.Add(-n) < 0 && n > 0 {
		r.free.Add(n)
		return false
	}
	return true
}
