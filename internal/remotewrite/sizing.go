// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// minPiece is the number of samples below which a scrape is not divided further.
const minPiece = 64

// NarrowAfter is the number of failures in a row after which a request is made
// smaller.
const NarrowAfter = 3

// sizeMode is what is known of the size of requests.
type sizeMode uint8

const (
	// whole: nothing is narrowed.
	whole sizeMode = iota
	// narrowNext and wholeNext: nothing is accepted, and attempts alternate between
	// the whole and a narrowed size, since it may be a matter of size or not, down to
	// what cannot be narrowed.
	narrowNext
	wholeNext
	// trial: a narrowed request was accepted, what follows is tried whole at once.
	trial
	// proven: that failed, size matters.
	proven
)

// Sizing is how requests are narrowed that may fail by their size. It is a value;
// the zero value narrows nothing.
type Sizing struct {
	mode sizeMode
	// narrow is the size of a narrowed request: scrapes, or samples of one scrape.
	narrow spool.Limits
}

// Limits of the next request in scrapes and samples, 0 for none.
func (z Sizing) Limits() (scrapes, samples int) {
	if z.mode == narrowNext || z.mode == proven {
		return z.narrow.Scrapes, z.narrow.Samples
	}
	return 0, 0
}

// Narrowed reports whether the next request is narrowed.
func (z Sizing) Narrowed() bool { return z.mode == narrowNext || z.mode == proven }

// Failed is what follows from a failure, the fails-th in a row with nothing accepted
// in between, of a request with that many scrapes and samples.
func (z Sizing) Failed(fails, scrapes, samples int) Sizing {
	switch z.mode {
	case whole:
		if half, ok := z.halved(scrapes, samples); ok && fails >= NarrowAfter {
			z = half
			z.mode = narrowNext
		}
	case narrowNext:
		// What cannot be narrowed is asked again alone: the whole holds it, too.
		if half, ok := z.halved(scrapes, samples); ok {
			z = half
			z.mode = wholeNext
		}
	case wholeNext:
		z.mode = narrowNext
	case trial:
		z.mode = proven
	case proven:
		half, ok := z.halved(scrapes, samples)
		switch {
		case !ok && fails >= NarrowAfter:
			z.mode = narrowNext
		case ok:
			z = half
			if fails >= NarrowAfter {
				z.mode = wholeNext
			}
		}
	}
	return z
}

// Accepted is what follows from the acceptance of a request with that many scrapes and
// samples; part says that it ended within a scrape, more that there waits more.
func (z Sizing) Accepted(scrapes, samples int, part, more bool) Sizing {
	switch z.mode {
	case narrowNext:
		if more {
			z.mode = trial
			return z
		}
	case trial:
		if more && scrapes <= z.narrow.Scrapes && (z.narrow.Samples == 0 || samples <= z.narrow.Samples) {
			return z // something else was the limit, it proves nothing
		}
	case proven:
		switch {
		case z.narrow.Samples > 0 && part:
			z.narrow.Samples *= 2
			return z
		case z.narrow.Samples > 0:
			z.narrow.Samples = 0 // the piece reached the end of its scrape
			return z
		case scrapes == z.narrow.Scrapes:
			z.narrow.Scrapes *= 2
			return z
		}
		// Something else is the limit by now.
	}
	return Sizing{}
}

// halved narrows to the oldest half of a request: of its scrapes, and of its series
// once it is down to one. It reports whether that is less.
func (z Sizing) halved(scrapes, samples int) (Sizing, bool) {
	switch {
	case scrapes > 1:
		z.narrow = spool.Limits{Scrapes: scrapes / 2}
	case samples > minPiece:
		z.narrow = spool.Limits{Scrapes: 1, Samples: max(samples/2, minPiece)}
	default:
		return z, false
	}
	return z, true
}

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
