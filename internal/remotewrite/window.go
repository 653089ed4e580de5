// SPDX-License-Identifier: Apache-2.0

package remotewrite

import "github.com/docker-remote-write/docker-remote-write/internal/series"

// minPiece is the number of samples below which a scrape is not divided further.
const minPiece = 64

// window narrows what does not get through and widens again with each success.
// Zero fields do not limit.
type window struct {
	scrapes int
	samples int
}

// narrow makes the next request the oldest half of r: of its scrapes, and of its
// series once it is down to one. It reports whether that is less than r.
func (w *window) narrow(r *request) bool {
	switch {
	case r.scrapes > 1:
		w.scrapes, w.samples = r.scrapes/2, 0
	case r.samples > minPiece:
		w.scrapes, w.samples = 1, max(r.samples/2, minPiece)
	default:
		return false
	}
	return true
}

// widen doubles the window after r was accepted.
func (w *window) widen(r *request) {
	switch {
	case w.samples > 0 && r.to.Ordinal != 0:
		w.samples *= 2
	case w.samples > 0:
		w.samples = 0 // the piece reached the end of its scrape
	case w.scrapes > 0 && r.scrapes < w.scrapes:
		w.scrapes = 0 // something else is the limit by now
	case w.scrapes > 0:
		w.scrapes *= 2
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
