// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Delays bound the waits between attempts, stretch included.
type Delays struct{ Min, Max time.Duration }

// most is the longest wait when the first of the failures is that long ago: a quarter
// of it, so that an outage is noticed to be over within a quarter of its length.
func (d Delays) most(elapsed time.Duration) time.Duration { return min(max(elapsed/4, d.Min), d.Max) }

// shortened takes up to a half off a wait at random, since a fleet that met an outage
// together would else come back in step. random returns a number in [0, 1); nil takes the
// process's own source.
func shortened(most time.Duration, random func() float64) time.Duration {
	if random == nil {
		random = rand.Float64
	}
	return most/2 + time.Duration(random()*float64(most-most/2))
}

// Backoff is since when an endpoint fails. It is a value; the zero value is its start.
type Backoff struct {
	// since is when the first of the failures in a row was, zero for none.
	since time.Time
	// level is the wait that has built up against a receiver that says 429, 0 for none. It
	// doubles with each and outlives acceptances, each of which halves it; until it is
	// gone, since is when that began.
	level time.Duration
}

// Failed is what follows from a failure at that time, with 429 or not, and how long to
// wait before the next attempt.
func (b Backoff) Failed(d Delays, now time.Time, overloaded bool, random func() float64) (Backoff, time.Duration) {
	if b.since.IsZero() || b.level > 0 && !overloaded {
		b = Backoff{since: now}
	}
	most := d.most(now.Sub(b.since))
	if overloaded {
		if b.level > 0 {
			most = min(2*b.level, most)
		}
		b.level = most
	}
	return b, shortened(most, random)
}

// Accepted is what follows from an acceptance, and how long to wait before more is sent
// to a receiver which had said that it is overloaded: half as long each time, and not
// at all once that is below Min. A fleet that began anew with each success would offer
// such a receiver many times what it can take. A request that was narrowed eases nothing:
// what is found out by its acceptance is whether the whole is too large, and at once.
func (b Backoff) Accepted(d Delays, narrowed bool, random func() float64) (Backoff, time.Duration) {
	if narrowed && b.level > 0 {
		return b, 0
	}
	if b.level /= 2; b.level < d.Min {
		return Backoff{}, 0
	}
	return b, 2 * shortened(b.level, random)
}

// Pace is how long n samples take at a rate in samples a second; 0 without one.
func Pace(n int, rate float64) time.Duration {
	if rate <= 0 || n <= 0 {
		return 0
	}
	return time.Duration(float64(n) / rate * float64(time.Second))
}

// MaxRetryAfter is the longest that a receiver can make a sender wait.
const MaxRetryAfter = 5 * time.Minute

// RetryAfter reads the header of that name: seconds, or an HTTP date that is
// compared with the answer's own Date, so that a wrong clock on this side does
// no harm, and with now where there is none. It returns 0 where it is absent,
// malformed or not in the future, and at most MaxRetryAfter.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if strings.Trim(v, "0123456789") == "" {
		if v = strings.TrimLeft(v, "0"); len(v) > 9 {
			return MaxRetryAfter
		}
		n, _ := strconv.Atoi(v)
		return min(time.Duration(n)*time.Second, MaxRetryAfter)
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}

// asked is how long the receiver wants to be left alone, stretched; 0 if it does not say.
func (a *answer) asked(random func() float64) time.Duration {
	if a.retry <= 0 || a.status != 429 && (a.status < 500 || a.status > 599) {
		return 0
	}
	return Stretch(a.retry, random)
}

// Stretch lengthens a Retry-After at random by up to a fifth, so that all who got
// the same one do not come back together.
func Stretch(d time.Duration, random func() float64) time.Duration {
	if random == nil {
		random = rand.Float64
	}
	return d + time.Duration(random()*float64(d)/5)
}
