// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"sync"
	"time"
)

// steadyFor is how long a wall clock must have shown a time, running on from there,
// before anything is dropped for it.
const steadyFor = time.Hour

// clock tells how old things are although the wall clock may be wrong: it starts in
// 1970 where nothing keeps it, is ahead for a while, is set. What is older than the
// process can be judged by the wall clock alone, which has gone on while the machine
// was off; so a reading of it is believed once it has held for steadyFor. What must not
// last longer than some days is counted while the process runs, by a clock that nobody
// sets.
type clock struct {
	now func() time.Time
	// ran is for how long the process has run.
	ran func() time.Duration

	mu sync.Mutex
	// low is the lowest difference of the two in milliseconds since the running time
	// since, before the lowest in the stretch before that, which lasted steadyFor.
	low, before int64
	since       time.Duration
	begun, held bool
	// counted is the running time up to which counts were brought.
	counted time.Duration
}

// look reads the clocks. It is called every now and then, with each scrape at least.
func (c *clock) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	ran := c.ran()
	diff := c.now().UnixMilli() - ran.Milliseconds()
	switch {
	case !c.begun:
		c.low, c.since, c.begun = diff, ran, true
	case ran-c.since >= steadyFor:
		c.before, c.held = c.low, true
		c.low, c.since = diff, ran
	default:
		c.low = min(c.low, diff)
	}
}

// wall is the time in milliseconds, as early as it has been said to be lately; ok is
// false before anything is believed.
func (c *clock) wall() (ms int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(c.low, c.before) + c.ran().Milliseconds(), c.held
}

// passed is the running time since it was asked last.
func (c *clock) passed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	ran := c.ran()
	d := ran - c.counted
	c.counted = ran
	return d
}
