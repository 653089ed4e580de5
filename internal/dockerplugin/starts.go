// SPDX-License-Identifier: Apache-2.0

package dockerplugin

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// A process that has run this long is no part of a crash loop.
	stable = 10 * time.Second
	// The first few quick ends cost nothing: a killed process is back at once.
	freeEnds = 3
	// longestDelay bounds what a crash loop can delay a mended plugin.
	longestDelay = 10 * time.Second
)

// quickEnds counts, in a file, the processes before this one that ended within
// moments of their start. The engine starts a plugin that ended again after
// 0.15 s, for ever.
type quickEnds struct{ dir string }

func (q quickEnds) path() string { return filepath.Join(q.dir, "quick-ends") }

// begin counts this process as one that ends quickly, until it proves otherwise,
// and returns how many there were before it.
func (q quickEnds) begin() (before int, err error) {
	if q.dir == "" {
		return 0, nil
	}
	b, _ := os.ReadFile(q.path())
	before, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	before = min(max(before, 0), 1000)
	return before, os.WriteFile(q.path(), strconv.AppendInt(nil, int64(before)+1, 10), 0o600)
}

// reset forgets them all.
func (q quickEnds) reset() {
	if q.dir != "" {
		_ = os.Remove(q.path())
	}
}

// delay is how long to wait after that many quick ends.
func delay(before int) time.Duration {
	if before < freeEnds {
		return 0
	}
	return min(time.Second<<min(before-freeEnds, 10), longestDelay)
}
