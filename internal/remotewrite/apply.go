// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"errors"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

const (
	// poisonAfter is how long a scrape gets 5xx before the one behind it is tried.
	poisonAfter = time.Hour
	// firstPace is the delay after a refusal on an endpoint that accepts nothing.
	firstPace = 5 * time.Second
	// growAfter is the number of accepted requests of the learned size after which
	// it grows by a quarter.
	growAfter = 16
)

var errNothingRead = errors.New("there is a backlog, but nothing could be read of it")

// apply acts on the answer to r.
func (s *Sender) apply(r *request, a *answer) {
	now := time.Now()
	v := judge(question{
		proto: r.proto, pinned: s.o.Protocol != Auto, v2Accepted: s.learned.V2,
		otherFailed: s.turn.once || r.proto == V1 && s.turn.notV2 || r.proto == V2 && s.turn.notV1,
		mergeable:   r.scrapes > s.aside.size(), divisible: r.samples > 1, raw: r.raw,
		exemplars: r.exemplars > 0 && a.written.samples == 0,
	}, a.status, a.written.any)
	if (v == narrowed || v == bare) && s.poison.probing {
		v = refused
	}
	s.record(r, a, v, now)
	if s.poison.probing {
		s.probed(r, a, v, now)
		return
	}
	switch v {
	case delivered:
		s.delivered(r, a, now)

	case again:
		s.again(r, a, now)

	case split:
		s.learned.MaxBytes = max(r.raw/2, minLearnedSize)
		s.filled = 0
		s.remember(now)
		s.rebuild()

	case tooLarge:
		s.drop(r, series.TooLarge, now)

	case otherProtocol:
		if r.proto == V2 {
			s.turn.notV2 = true
			s.fallBack(now)
		} else {
			s.turn.notV1 = true
			s.learned.FellBack, s.learned.V1 = 0, false
			s.remember(now)
		}
		s.rebuild()

	case tryV1:
		s.turn.once = true
		s.rebuild()

	case counted:
		s.counted(r, a, now)

	case narrowed:
		if s.aside.until.Before(r.to) {
			s.aside.until = r.to
		}
		s.rebuild()

	case bare:
		s.turn.bare = true
		s.rebuild()

	case refused:
		s.drop(r, s.reason(r), now)

	case refusing:
		// Merged, it would cost a backlog's worth of scrapes each time.
		s.refusing = true
		switch {
		case r.scrapes > 1:
			s.rebuild()
		case !s.o.HoldOnAuthError:
			s.drop(r, s.reason(r), now)
		}
		s.retryAt = now.Add(s.o.MaxBackoff)
		s.setState(StateRefusing, s.retryAt)
	}
}

// rebuild makes the next attempt carry another request, at once.
func (s *Sender) rebuild() {
	s.req = nil
	s.turn.fails = 0
	s.retryAt = time.Time{}
}

// delivered acts on an acceptance.
func (s *Sender) delivered(r *request, a *answer, now time.Time) {
	if s.turn.once {
		s.fallBack(now)
	}
	s.enc.accepted(now.UnixMilli())
	s.prove(r.proto, now)
	s.window.Widen(r.scrapes, r.to.Ordinal != 0)
	s.grow(r, now)
	ease := s.opened()
	t := r.dropped
	t.Delivered = uint64(r.samples)
	unconfirmed := 0
	if r.proto == V2 {
		unconfirmed = max(r.samples-a.written.samples, 0)
	}
	s.arrivedAtReceiver(r, unconfirmed, now)
	s.ack(r.to, t)
	if d := max(Pace(r.samples, s.o.RateLimit)-a.took, ease); d > 0 && s.cursor.Backlog().Scrapes > 0 {
		s.retryAt = now.Add(d)
	}
}

// opened forgets what an endpoint that accepts nothing had earned. It returns how
// long to wait before more of a backlog is sent to one that had too much.
func (s *Sender) opened() (ease time.Duration) {
	s.refusing, s.accepted, s.pace = false, true, 0
	s.aside.row = 0
	if s.overloaded {
		ease = s.backoff.Ease(nil)
		s.overloaded = ease > 0
	} else {
		s.backoff.Reset()
	}
	s.retryAt = time.Time{}
	s.setState(StateOK, time.Time{})
	return ease
}

// counted acts on a final refusal that says how much was written.
func (s *Sender) counted(r *request, a *answer, now time.Time) {
	s.prove(r.proto, now)
	n := min(a.written.samples, r.samples)
	if n == 0 {
		s.drop(r, s.reason(r), now)
		return
	}
	loss := s.reason(r)
	s.opened()
	t := r.dropped
	t.Delivered = uint64(n)
	t.Lost[loss] += uint64(r.samples - n)
	s.arrivedAtReceiver(r, 0, now)
	s.ack(r.to, t)
}

// reason is what a refusal of r is counted as. What may have been stored before,
// because its answer was lost, is refused for being there.
func (s *Sender) reason(r *request) series.Loss {
	if !s.resent.Before(r.to) {
		return series.RefusedAfterResend
	}
	return series.Refused
}

// drop gives up on r. Refusals are paced: an endpoint that accepts nothing must not
// empty a backlog at the speed of the network. Those of a request that was resent
// are not: they are few, and tell nothing of the endpoint.
func (s *Sender) drop(r *request, loss series.Loss, now time.Time) {
	t := r.dropped
	t.Lost[loss] += uint64(r.samples)
	if r.proto == V1 {
		s.aside.row++
	}
	s.overloaded = false
	s.backoff.Reset()
	s.retryAt = time.Time{}
	if loss != series.RefusedAfterResend {
		if s.accepted {
			s.pace = 0
		} else {
			s.pace = min(max(2*s.pace, firstPace), s.o.MaxBackoff)
			s.retryAt = now.Add(s.pace)
		}
		s.accepted = false
	}
	s.setState(StateOK, s.retryAt)
	s.ack(r.to, t)
}

// again acts on a failure that may pass.
func (s *Sender) again(r *request, a *answer, now time.Time) {
	delay := s.backoff.Next(nil)
	s.overloaded = a.status == 429
	if (a.status == 429 || a.status == 503) && a.retry > 0 {
		delay = Stretch(a.retry, nil)
	}
	s.retryAt = now.Add(delay)
	s.setState(StateBackingOff, s.retryAt)

	// A connection that cannot be made is no matter of size, and what never left may
	// be merged with what comes in the meantime.
	if a.status == 0 && !a.sent {
		r.unsent = !r.from.Before(s.resent) && !r.from.Before(s.tried)
		return
	}
	r.unsent = false
	// A gateway may say so of what is stored by now.
	if s.tried.Before(r.to) {
		s.tried = r.to
	}
	s.turn.fails++
	switch {
	case s.turn.doubt:
		// 1.0 does no better.
		s.turn.once, s.turn.doubt, s.turn.fails = false, false, 0
		s.req = nil
	case s.turn.fails >= NarrowAfter:
		s.turn.fails = 0
		if s.doubtful(r, a) {
			s.turn.once, s.turn.doubt = true, true
			s.req = nil
		} else if s.window.Narrow(r.scrapes, r.samples) {
			s.req = nil
		}
	}
	if a.status < 500 || a.status > 599 || r.scrapes != 1 {
		return
	}
	if s.poison.scrape != r.from.Scrape {
		s.poison = poison{scrape: r.from.Scrape, since: now}
	}
	if now.Sub(s.poison.since) >= poisonAfter && a.retry == 0 {
		// At once: if the receiver came back in between, the scrape in front would
		// be taken for the culprit.
		s.poison.probing = true
		s.req = nil
		s.retryAt = time.Time{}
	}
}

// doubtful reports whether a 5xx may be a receiver's way to say that it does not
// understand 2.0. What gateways answer for a receiver that is down does not count.
func (s *Sender) doubtful(r *request, a *answer) bool {
	return s.o.Protocol == Auto && r.proto == V2 && !s.learned.V2 &&
		a.status >= 500 && a.status <= 599 && a.status != 502 && a.status != 503 && a.status != 504
}

// probed acts on the answer to the scrape behind one that gets 5xx. If it is
// accepted, the one in front is at fault and dropped; otherwise that one is next.
func (s *Sender) probed(r *request, a *answer, v verdict, now time.Time) {
	s.poison.probing = false
	s.req = nil
	pos := s.cursor.Position()
	if v != delivered || pos.Scrape != s.poison.scrape {
		s.retryAt = now.Add(s.backoff.Next(nil))
		s.setState(StateBackingOff, s.retryAt)
		return
	}
	probe := *r
	if err := s.cursor.Read(&s.batch, pos, spool.Limits{Scrapes: 1}); err != nil {
		s.localFailure("cannot read the spool", err)
		return
	}
	var t series.Tally
	t.Lost[series.Poison] = uint64(s.batch.Samples)
	t.Lost[series.Unreadable] = s.batch.Unreadable
	s.notices.poison(s, now, s.batch.Samples)
	s.ack(probe.from, t)
	if s.cursor.Position() == probe.from {
		s.delivered(&probe, a, now)
	}
}

// ack moves the cursor.
func (s *Sender) ack(to series.Position, t series.Tally) {
	err := s.cursor.Ack(to, t)
	s.req = nil
	s.idle = true // what is left, if it is young, waits its own time to be merged
	s.begun = series.Position{}
	if err != nil {
		s.notices.local(s, "cannot keep the position in the spool", err)
	}
	if s.cursor.Position().Before(to) {
		s.retryAt = time.Now().Add(s.backoff.Next(nil))
	}
}

// localFailure backs off for something that is wrong on this side.
func (s *Sender) localFailure(what string, err error) {
	s.retryAt = time.Now().Add(s.backoff.Next(nil))
	s.setState(StateBackingOff, s.retryAt)
	s.notices.local(s, what, err)
}

// fallBack makes 1.0 the choice for this URL.
func (s *Sender) fallBack(now time.Time) {
	s.learned.FellBack, s.learned.V2 = now.Unix(), false
	s.remember(now)
	s.notices.fellBack(s)
}

// prove notes that the receiver speaks p.
func (s *Sender) prove(p Protocol, now time.Time) {
	if s.learned.proven(p) {
		return
	}
	if p == V2 {
		s.learned.V2 = true
	} else {
		s.learned.V1 = true
	}
	s.remember(now)
}

// grow lets a learned request size grow back.
func (s *Sender) grow(r *request, now time.Time) {
	if s.learned.MaxBytes == 0 || r.raw < s.learned.MaxBytes/4*3 {
		return
	}
	if s.filled++; s.filled < growAfter {
		return
	}
	s.filled = 0
	if s.learned.MaxBytes += s.learned.MaxBytes / 4; s.learned.MaxBytes >= s.o.MaxBytes {
		s.learned.MaxBytes = 0
	}
	s.remember(now)
}

// remember keeps what was learned.
func (s *Sender) remember(now time.Time) {
	s.learned.Changed = now.Unix()
	if err := s.o.Memory.put(s.key, s.learned); err != nil {
		s.notices.local(s, "cannot keep what was learned of the receiver", err)
	}
}
