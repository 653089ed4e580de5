// SPDX-License-Identifier: Apache-2.0

package fleetsim

import (
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
)

// next decides, after a scrape or an answer, when the host sends.
func (s *sim) next(i int32, now int64) {
	h := &s.hosts[i]
	if h.sending > 0 || h.queued == 0 {
		return
	}
	due := h.retryAt
	if h.failed == 0 && h.queued < s.set.MaxSamplesPerSend {
		// What does not fill a request waits to be merged.
		due = max(due, h.oldest+s.set.BatchSendDeadline.Milliseconds())
	}
	switch {
	case due <= now:
		s.send(i, now)
	case due != h.wakeAt:
		h.gen++
		h.wakeAt = due
		s.q.push(event{at: due, host: i, kind: wake, gen: h.gen})
	}
}

// send offers the host's oldest samples to the receiver.
func (s *sim) send(i int32, now int64) {
	h := &s.hosts[i]
	n := h.failed // a request that was refused is retried with the very same bounds
	if n == 0 {
		n = min(h.queued, s.set.MaxSamplesPerSend)
		if h.window.Scrapes > 0 {
			n = min(n, h.window.Scrapes*s.sc.Series-h.offset)
		}
		if h.window.Samples > 0 {
			n = min(n, h.window.Samples)
		}
	}
	h.sending, h.wakeAt = n, 0
	h.gen++
	sec := &s.res.Seconds[now/1000]
	down := s.down(now)
	if !down {
		sec.Requests++
		sec.Samples += n
	}
	latency := s.sc.Latency.Milliseconds()
	switch {
	case down:
		h.failing, h.refused, latency = true, false, 0
	case !s.take(now, n):
		h.failing, h.refused = true, true
	default:
		h.failing = false
	}
	if !h.failing {
		sec.Accepted += n
	}
	s.q.push(event{at: now + latency, host: i, kind: answer, gen: h.gen})
}

// take reports whether the receiver has the capacity for n samples.
func (s *sim) take(now int64, n int) bool {
	if s.sc.Capacity == 0 {
		return true
	}
	s.tokens = min(s.sc.Capacity, s.tokens+s.sc.Capacity*float64(now-s.tokensAt)/1000)
	s.tokensAt = now
	if s.tokens < float64(n) {
		return false
	}
	s.tokens -= float64(n)
	return true
}

// answered is the receiver's answer, or the connection's failure.
func (s *sim) answered(i int32, now int64) {
	h := &s.hosts[i]
	n := h.sending
	h.sending = 0
	if h.failing {
		delay := h.backoff.Next(s.random)
		if s.sc.RetryAfter > 0 && h.refused {
			delay = remotewrite.Stretch(s.sc.RetryAfter, s.random)
		}
		// A connection that cannot be made is no matter of size, and what never left is
		// made anew with what has come since.
		if h.refused {
			h.failed = n
			if h.fails++; h.fails >= remotewrite.NarrowAfter {
				h.fails = 0
				if h.window.Narrow(s.scrapes(h, n), n) {
					h.failed = 0
				}
			}
		}
		h.retryAt = now + delay.Milliseconds()
		s.next(i, now)
		return
	}
	scrapes := s.scrapes(h, n)
	h.offset = (h.offset + n) % s.sc.Series
	h.window.Widen(scrapes, h.offset != 0)
	h.failed, h.fails = 0, 0
	ease := time.Duration(0)
	if h.refused {
		ease = h.backoff.Ease(s.random)
		h.refused = ease > 0
	} else {
		h.backoff.Reset()
	}
	before := s.late(h)
	h.queued -= n
	s.backlog -= n
	s.res.Delivered += n
	s.count(before, h)
	if s.behind == 0 && s.res.Recovered == 0 && s.sc.Down > 0 && now > (s.sc.DownFrom+s.sc.Down).Milliseconds() {
		s.res.Recovered = time.Duration(now) * time.Millisecond
	}
	// What is left was scraped after what was sent.
	left := int64(h.queued / s.sc.Series)
	h.oldest = now - left*s.set.ScrapeInterval.Milliseconds()
	h.retryAt = now
	if h.queued > 0 {
		h.retryAt = now + max(ease, remotewrite.Pace(n, s.set.MaxSamplesPerSecond)).Milliseconds()
	}
	s.next(i, now)
}

// scrapes is in how many scrapes the host's n oldest samples lie.
func (s *sim) scrapes(h *host, n int) int {
	return (h.offset + n + s.sc.Series - 1) / s.sc.Series
}

// down reports whether the receiver refuses connections.
func (s *sim) down(now int64) bool {
	from := s.sc.DownFrom.Milliseconds()
	return now >= from && now < from+s.sc.Down.Milliseconds()
}
