// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestDoubt: what Doubt names survives a crash although less was in flight then,
// until it is acknowledged.
func TestDoubt(t *testing.T) {
	dir := memoryDir(t)
	g := newTarget(5)
	s := mustOpen(t, dir, Options{})
	c := mustClaim(t, s, "a")[0]
	var at []series.Position
	for range 10 {
		at = append(at, mustAppend(t, s, g.next()))
	}
	for _, step := range []struct {
		name           string
		doubt, sent, a int    // scrapes: Doubt and Begin up to them, -1 for not; then Ack
		delivered      uint64 // samples in that Ack
		want           int    // scrape in front of which InFlight ends after a crash, -1 for none
	}{
		{"more in doubt than in flight", 7, 2, -1, 0, 7},
		{"part of it acknowledged", 7, 2, 2, 10, 7},
		{"less in doubt than in flight", 5, 6, -1, 0, 6},
		{"all of it acknowledged", 7, 4, 7, 25, -1},
		{"only in flight", -1, 9, -1, 0, 9},
	} {
		if step.doubt >= 0 {
			if err := c.Doubt(at[step.doubt]); err != nil {
				t.Fatal(step.name, ": ", err)
			}
		}
		if err := c.Begin(at[step.sent]); err != nil {
			t.Fatal(step.name, ": ", err)
		}
		if step.a >= 0 {
			if err := c.Ack(at[step.a], series.Tally{Delivered: step.delivered}); err != nil {
				t.Fatal(step.name, ": ", err)
			}
		}
		for range 2 { // in the process, and after a crash
			to, ok := c.InFlight()
			if ok != (step.want >= 0) || ok && to != at[step.want] {
				t.Errorf("%s: in flight up to %v, %v; want scrape %d", step.name, to, ok, step.want)
			}
			balanced(t, c)
			crash(t, s)
			s = mustOpen(t, dir, Options{})
			c = mustClaim(t, s, "a")[0]
		}
	}
	if err := c.Doubt(series.Position{Scrape: 99}); err == nil {
		t.Error("a position that does not exist was taken")
	}
}
