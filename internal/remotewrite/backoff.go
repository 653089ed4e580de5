// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Backoff is an exponential delay between attempts. The zero value of the fields
// it keeps itself is its start.
type Backoff struct {
	// Min is the first delay before it is stretched. No delay, stretch included,
	// exceeds Max.
	Min, Max time.Duration

	base time.Duration
}

// Next returns the next delay: the base, stretched at random by up to its own
// length. The base begins at Min and doubles with each call. random returns a
// number in [0, 1); nil takes the process's own source.
func (b *Backoff) Next(random func() float64) time.Duration {
	switch {
	case b.base == 0:
		b.base = b.Min
	case b.base < b.Max:
		b.base *= 2
	}
	return b.stretched(random)
}

// Ease is the delay before the next request after one that was accepted by a
// receiver which had said that it is overloaded: half as long each time, and none
// once that is below Min. A fleet that began anew with each success would offer
// such a receiver many times what it can take.
func (b *Backoff) Ease(random func() float64) time.Duration {
	if b.base /= 2; b.base < b.Min {
		b.base = 0
		return 0
	}
	return b.stretched(random)
}

func (b *Backoff) stretched(random func() float64) time.Duration {
	if random == nil {
		random = rand.Float64
	}
	// At the cap the stretch goes downwards: a fleet that met an outage together
	// would else come back in step, every Max.
	b.base = min(b.base, b.Max)
	low := min(b.base, max(b.Max/2, b.Min))
	span := min(b.base, b.Max-low)
	return low + time.Duration(random()*float64(span))
}

// Reset starts over, after a final answer.
func (b *Backoff) Reset() { b.base = 0 }

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

// Stretch lengthens a Retry-After at random by up to a fifth, so that all who got
// the same one do not come back together.
func Stretch(d time.Duration, random func() float64) time.Duration {
	if random == nil {
		random = rand.Float64
	}
	return d + time.Duration(random()*float64(d)/5)
}
