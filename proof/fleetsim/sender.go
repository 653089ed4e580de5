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
	if h.fails == 0 && h.queued < s.set.MaxSamplesPerSend {
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
	n := min(h.queued, s.set.MaxSamplesPerSend)
	scrapes, samples := h.size.Limits()
	if scrapes > 0 {
		n = min(n, scrapes*s.sc.Series-h.offset)
	}
	if samples > 0 {
		n = min(n, samples)
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
		var delay time.Duration
		h.backoff, delay = h.backoff.Failed(s.delays(), clock(now), h.refused, s.random)
		if s.sc.RetryAfter > 0 && h.refused {
			delay = max(delay, remotewrite.Stretch(s.sc.RetryAfter, s.random))
		}
		// A connection that cannot be made is no matter of size. What never left, and what
		// was answered 429, is made anew with what has come since.
		if h.refused {
			h.fails++
			h.size = h.size.Failed(h.fails, s.scrapes(h, n), n)
		}
		h.retryAt = now + delay.Milliseconds()
		s.next(i, now)
		return
	}
	scrapes := s.scrapes(h, n)
	h.offset = (h.offset + n) % s.sc.Series
	var ease time.Duration
	h.backoff, ease = h.backoff.Accepted(s.delays(), h.size.Narrowed(), s.random)
	h.size = h.size.Accepted(scrapes, n, h.offset != 0, h.queued > n)
	h.fails = 0
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

func (s *sim) delays() remotewrite.Delays {
	return remotewrite.Delays{Min: s.set.MinBackoff, Max: s.set.MaxBackoff}
}

func clock(now int64) time.Time { return time.UnixMilli(now) }

// scrapes is in how many scrapes the host's n oldest samples lie.
func (s *sim) scrapes(h *host, n int) int {
	return (h.offset + n + s.sc.Series - 1) / s.sc.Series
}

// down reports whether the receiver refuses connections.
func (s *sim) down(now int64) bool {
	from := s.sc.DownFrom.Milliseconds()
	return now >= from && now < from+s.sc.Down.Milliseconds()
}
