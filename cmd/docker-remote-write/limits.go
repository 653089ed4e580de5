// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// limitSelf bounds what the process takes from its host: engines give a plugin
// no limits. The environment's own GOGC, GOMEMLIMIT and GOMAXPROCS win.
func limitSelf() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(256 << 20)
	}
}

// tidier is the one place that gives memory back to the host. It does so with what the
// start took and nobody needs any more: from then on next to nothing is allocated, and
// the runtime would not collect it for minutes. And it collects the garbage of a small
// heap, since the runtime lets every heap grow by a mebibyte first, whatever GOGC says,
// which is as much as all of this program keeps for an engine.
type tidier struct {
	// small is a heap, garbage included, that takes a millisecond to collect.
	small uint64
	// giveBack collects garbage and returns what is then free. It does not wait.
	giveBack func()
	scrapes  atomic.Int64 // of all targets
}

const (
	// startScrapes are what the start takes to be over.
	startScrapes = 8
	// tidyEvery scrapes leave about half a megabyte of garbage, most of it net/http's.
	tidyEvery = 32
)

func newTidier() *tidier {
	return &tidier{small: 4 << 20, giveBack: func() { go debug.FreeOSMemory() }}
}

// scraped is called after each scrape, of any target.
func (t *tidier) scraped() {
	n := t.scrapes.Add(1)
	if n == startScrapes || n%tidyEvery == 0 && t.heapIsSmall() {
		t.giveBack()
	}
}

func (t *tidier) heapIsSmall() bool {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc <= t.small
}
