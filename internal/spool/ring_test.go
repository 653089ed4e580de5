// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"maps"
	"syscall"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// The newest scrape is read from memory, however many series it has: a sender that
// is up to date touches no file.
func TestNewestIsInMemory(t *testing.T) {
	f := newFaults()
	s := mustOpen(t, t.TempDir(), Options{hook: f.hook})
	c := mustClaim(t, s, "a")[0]
	g := newTarget(tailBytes/8 + 1)
	f.set(opSegmentOpen, syscall.EIO)
	for range 3 {
		sc := g.next()
		mustAppend(t, s, sc)
		if got := drain(t, c, Limits{Width: 5000}); !maps.EqualFunc(got, want(sc), maps.Equal) {
			t.Errorf("%d series became %d, or changed", len(sc.Series), len(got))
		}
	}
	s.log.mu.Lock()
	kept := len(s.log.ring.entries)
	s.log.mu.Unlock()
	if kept > 1 {
		t.Errorf("%d scrapes that everybody has are kept", kept)
	}
	balanced(t, c)
}

// A batch holds no more of one scrape than it may, and goes on where it stopped.
func TestWidth(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	c := mustClaim(t, s, "a")[0]
	g := newTarget(10)
	var all []*series.Scrape
	for range 20 {
		all = append(all, g.next())
		mustAppend(t, s, all[len(all)-1])
	}
	got := received{}
	var b series.Batch
	for n := 0; c.Backlog().Samples > 0; n++ {
		if err := c.Read(ctx(), &b, c.Position(), Limits{Width: 4}); err != nil {
			t.Fatal(err)
		}
		if want := []int{4, 4, 2}[n%3]; b.Samples != want {
			t.Errorf("batch %d holds %d samples, want %d", n, b.Samples, want)
		}
		got.add(t, &b)
		if err := ack(c, b.To, series.Tally{Delivered: uint64(b.Samples)}); err != nil {
			t.Fatal(err)
		}
	}
	same(t, got, want(all...))
	balanced(t, c)
}
