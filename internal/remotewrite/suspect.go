// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

const (
	// poisonAfter is how long nothing was accepted before what gets 5xx is suspected;
	// gatewayAfter where 502, 503 or 504 are among the answers, which are a proxy's.
	poisonAfter  = time.Hour
	gatewayAfter = 6 * time.Hour
	// poisonRow is how many 5xx in a row it takes, poisonSpan how far the first and the
	// last of them are apart at least.
	poisonRow  = 3
	poisonSpan = 2 * time.Minute
)

// suspect is a piece of a scrape at the head of the queue, narrowed as far as it goes,
// that gets nothing but 5xx. An outage is told from it by a probe: what follows it is
// sent, and if that is accepted the suspect is at fault.
type suspect struct {
	since time.Time // of the first 5xx, with nothing accepted since
	stage stage
	ripe  time.Time // no probe before that
	// given is what is given up if the probe is accepted: the suspect, and the pieces of
	// the same scrape behind it that got 5xx as probes. It ends where the next one begins.
	given booking
}

// stage is the number of 5xx in a row up to poisonRow, or probe.
type stage uint8

// probe: the next request is the one behind the suspect.
const probe stage = poisonRow + 1

func (p suspect) probing() bool { return p.stage == probe }

// answered is the suspicion after an answer to r that leaves it where it is. more says
// that something waits behind r.
func (p suspect) answered(r *request, status int, more bool, now time.Time) suspect {
	if status < 500 || status > 599 {
		return p.interrupted()
	}
	if p.since.IsZero() {
		p.since = now
	}
	if r.scrapes != 1 || r.samples > minPiece {
		return p // it may yet be narrowed
	}
	if p.given.to.Before(r.to) {
		p.stage, p.given = 0, giveUp(r)
	}
	if p.stage == 0 {
		p.ripe = latest(now.Add(poisonSpan), p.since.Add(poisonAfter))
	}
	if status == 502 || status == 503 || status == 504 {
		p.ripe = latest(p.ripe, p.since.Add(gatewayAfter))
	}
	p.stage = min(p.stage+1, poisonRow)
	// At once: if the receiver came back in between, the suspect would be innocent.
	if p.stage == poisonRow && !now.Before(p.ripe) && (more || p.within()) {
		p.stage = probe
	}
	return p
}

// acquitted is the suspicion after a probe that was not accepted. If it got 5xx as well
// it may be the scrape as a whole: the next probe is what follows that piece of it.
func (p suspect) acquitted(r *request, status int) suspect {
	if status >= 500 && status <= 599 && p.within() {
		p = p.joined(giveUp(r))
	}
	return p.interrupted()
}

// interrupted begins the row anew.
func (p suspect) interrupted() suspect {
	p.stage = 0
	return p
}

// within reports whether the suspect ends within its scrape.
func (p suspect) within() bool { return p.given.to.Ordinal != 0 }

// joined adds what follows the suspect to what is given up with it.
func (p suspect) joined(b booking) suspect {
	p.given.to = b.to
	p.given.tally.Add(b.tally)
	return p
}

// giveUp books r as poison.
func giveUp(r *request) booking {
	t := r.dropped
	t.Lost[series.Poison] += uint64(r.samples)
	return booking{r.to, t}
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
