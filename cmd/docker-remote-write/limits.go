// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime"
	"runtime/debug"
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

// giveBack returns what the start, or a large target's new shape, took and nobody
// needs any more. From then on next to nothing is allocated: the runtime would not
// collect it for minutes, and give it back later still.
func giveBack() { go debug.FreeOSMemory() }
