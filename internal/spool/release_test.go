// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// removedButOpen are the files of that directory that are gone and held open.
func removedButOpen(t testing.TB, dir string) (open []string) {
	t.Helper()
	for _, f := range ls(t, "/proc/self/fd") {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", f.Name()))
		if err == nil && strings.HasPrefix(to, dir) && strings.HasSuffix(to, " (deleted)") {
			open = append(open, to)
		}
	}
	return open
}

// TestRemovedSegmentsAreClosed: a reader that is not asked for long does not keep the
// file of a segment that is gone, nor its space on disk.
func TestRemovedSegmentsAreClosed(t *testing.T) {
	for name, tt := range map[string]struct {
		age, gone time.Duration
	}{
		"it was too old":           {age: 3 * segmentAge},
		"its endpoint was removed": {gone: time.Hour},
		"its cursor was deleted":   {gone: 8 * oneDay},
	} {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			clock := newClocks()
			o := clock.options(Options{MaxAge: tt.age})
			s := mustOpen(t, dir, o)
			cs := mustClaim(t, s, "a", "b")
			g := newTarget(4)
			for range 60 {
				clock.scrape(t, s, g, 10*time.Minute)
			}
			var b series.Batch
			if err := cs[1].Read(ctx(), &b, cs[1].Position(), Limits{Scrapes: 2}); err != nil {
				t.Fatal(err)
			}
			if tt.gone > 0 {
				mustClaim(t, s, "a")
				clock.pass(tt.gone)
				clock.scrape(t, s, g, 0)
			}
			drain(t, cs[0], Limits{})
			clock.pass(20 * time.Hour)
			clock.scrape(t, s, g, 2*time.Hour)
			clock.scrape(t, s, g, 0)
			waitFor(t, s, func() bool { return len(s.log.trash) == 0 })
			if names := segments(t, dir); len(names) > 3 {
				t.Fatalf("%d segments are there", len(names))
			}
			if open := removedButOpen(t, dir); len(open) > 0 {
				t.Errorf("held open: %v", open)
			}
			balanced(t, cs[0])
		})
	}
}

// TestReadWhileRemoved: nor does one that was reading when its segment went.
func TestReadWhileRemoved(t *testing.T) {
	dir := memoryDir(t)
	f := newFaults()
	s := mustOpen(t, dir, Options{hook: f.hook})
	cs := mustClaim(t, s, "a", "b")
	g := newTarget(4)
	for range 5 {
		g.time += segmentAge.Milliseconds()
		mustAppend(t, s, g.next())
		g.time += 15_000
		for range tailScrapes {
			mustAppend(t, s, g.next())
		}
	}
	drain(t, cs[0], Limits{})
	release := f.stop(opSegmentRead)
	done := make(chan error, 1)
	go func() {
		var b series.Batch
		done <- cs[1].Read(ctx(), &b, cs[1].Position(), Limits{Samples: 2})
	}()
	<-f.entered
	mustClaim(t, s, "a")
	mustAppend(t, s, g.next())
	waitFor(t, s, func() bool { return len(s.log.trash) == 0 && len(s.log.segs) == 1 })
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if open := removedButOpen(t, dir); len(open) > 0 {
		t.Errorf("held open: %v", open)
	}
}
