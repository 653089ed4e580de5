// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

// TestTidier counts what is given back: once when the start is over, whatever the heap,
// and each 32 scrapes as long as the heap is small.
func TestTidier(t *testing.T) {
	given := 0
	tidy := newTidier()
	tidy.small, tidy.giveBack = 1<<40, func() { given++ }
	scrapes := func(n, want int) {
		t.Helper()
		for range n {
			tidy.scraped()
		}
		if given != want {
			t.Fatalf("given back %d times, want %d", given, want)
		}
	}
	scrapes(7, 0)
	scrapes(1, 1)
	scrapes(23, 1)
	scrapes(1, 2)
	scrapes(64, 4)
	tidy.small = 1 // any heap is larger
	scrapes(64, 4)
	tidy = newTidier()
	tidy.small, tidy.giveBack = 1, func() { given++ }
	scrapes(64, 5)
}
