// SPDX-License-Identifier: Apache-2.0

package remotewrite

import "github.com/docker-remote-write/docker-remote-write/internal/series"

// minPiece is the number of samples below which a scrape is not divided further.
const minPiece = 64

// NarrowAfter is the number of failures in a row after which a request is made
// smaller.
const NarrowAfter = 3

// Window narrows what does not get through and widens again with each success.
// Zero fields do not limit.
type Window struct{ Scrapes, Samples int }

// Narrow makes the next request the oldest half of one with that many scrapes and
// samples: of its scrapes, and of its series once it is down to one. It reports
// whether that is less.
func (w *Window) Narrow(scrapes, samples int) bool {
	switch {
	case scrapes > 1:
		w.Scrapes, w.Samples = scrapes/2, 0
	case samples > minPiece:
		w.Scrapes, w.Samples = 1, max(samples/2, minPiece)
	default:
		return false
	}
	return true
}

// Widen doubles the window after a request with that many scrapes was accepted;
// part says that it ended within a scrape.
func (w *Window) Widen(scrapes int, part bool) {
	switch {
	case w.Samples > 0 && part:
		w.Samples *= 2
	case w.Samples > 0:
		w.Samples = 0 // the piece reached the end of its scrape
	case w.Scrapes > 0 && scrapes < w.Scrapes:
		w.Scrapes = 0 // something else is the limit by now
	case w.Scrapes > 0:
		w.Scrapes *= 2
	}
}

// aside takes the scrapes of a refused merged request one by one, so that a bad
// one costs no other.
type aside struct {
	until series.Position // end of what was refused
	row   int             // refusals in a row
}

// size is how many scrapes the next request carries: one, and after four refusals
// in a row 2, 4, 8 and so on, since what is behind an hour of refused scrapes must
// not wait for each of them.
func (a *aside) size() int {
	if a.row < 4 {
		return 1
	}
	return 1 << min(a.row-3, 16)
}

// active reports whether pos lies in a request that was refused.
func (a *aside) active(pos series.Position) bool { return pos.Before(a.until) }

// upTo is the number of scrapes, and of samples if the end lies within the first
// of them, that make a batch from pos end at most at to.
func upTo(pos, to series.Position) (scrapes, samples int) {
	if pos.Scrape == to.Scrape {
		return 1, int(to.Ordinal - pos.Ordinal)
	}
	return int(min(to.Scrape-pos.Scrape, 1<<20)), 0
}

// tighten is the smaller of two limits of which 0 is none.
func tighten(a, b int) int {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
