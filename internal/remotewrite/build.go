// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"errors"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// maxAhead is how far in front of the clock a sample may be stamped. One host with
// a fast clock can close a receiver for all others.
const maxAhead = 2 * time.Minute

// width is the number of samples of one scrape that a request carries at most: a
// third of what it may hold, or minWidth. What a request needs in memory, some 250
// bytes a series, then does not grow with the target; and merging, which a scrape
// that is sent in parts does without, would save it little.
func (s *Sender) width() int { return max(s.o.MaxSamples/3, minWidth) }

const minWidth = 10_000

// step builds the next request if there is none, makes one attempt, and acts on
// the answer.
func (s *Sender) step(ctx context.Context) {
	if r := s.req; r != nil && r.unsent && r.all && s.cursor.Backlog().Samples > r.covers() {
		s.req = nil // to be merged with what has come since
	}
	if s.req == nil && !s.build() {
		return
	}
	r := s.req
	if s.begun != r.to {
		if err := s.doubt(r.to); err != nil {
			s.localFailure("cannot note what may have been stored", err)
			return
		}
		if err := s.cursor.Begin(r.to); err != nil {
			s.localFailure("cannot note what is in flight", err)
			return
		}
		s.begun = r.to
	}
	if !s.poison.probing && s.cursor.Position() != r.from {
		s.req = nil // evicted before it was in flight
		return
	}
	if r.newest >= time.Now().Add(maxAhead).UnixMilli() {
		s.req = nil // the clock was set back while it waited to be sent again
		return
	}
	a := s.client.attempt(ctx, r.proto, r.body)
	if a.lost() && s.resent.Before(r.to) {
		s.resent = r.to
	}
	if a.status == 0 && ctx.Err() != nil {
		return // cut short by the end of Run
	}
	s.apply(r, &a)
}

// doubt notes what may be at the receiver beyond to, the end of the request that is
// about to leave: a larger one was, and its answer was lost, a gateway's, or a
// refusal that is being looked into scrape by scrape. If the process ends now, the next one must
// know where such scrapes end, or it would merge them with new ones.
func (s *Sender) doubt(to series.Position) error {
	end := s.resent
	for _, p := range [2]series.Position{s.aside.until, s.tried} {
		if end.Before(p) {
			end = p
		}
	}
	if !to.Before(end) {
		return nil
	}
	return s.cursor.Doubt(end)
}

// protocol is the one for the next request.
func (s *Sender) protocol(now time.Time) Protocol {
	if s.o.Protocol != Auto {
		return s.o.Protocol
	}
	if s.turn.once {
		return V1
	}
	if s.learned.FellBack == 0 {
		return V2
	}
	if now.Unix() < s.learned.FellBack { // the clock was set back
		s.learned.FellBack = now.Unix()
	}
	if now.Sub(time.Unix(s.learned.FellBack, 0)) < retryV2After {
		return V1
	}
	s.learned.FellBack, s.learned.V2 = 0, false
	s.remember(now)
	return V2
}

// build makes the next request, and reports whether there is one to send. What is
// not to be sent at all is acknowledged here.
func (s *Sender) build() bool {
	now := time.Now()
	pos := s.cursor.Position()
	if pos != s.head {
		s.head, s.turn = pos, turn{}
	}
	p := s.protocol(now)
	from, lim := pos, s.limits(pos, p)
	if s.poison.probing {
		from, lim.Scrapes = series.Position{Scrape: pos.Scrape + 1}, 1
	}
	lim.Before, lim.Width = now.Add(maxAhead).UnixMilli(), s.width()
	size := s.maxBytes()

	exact := s.exact && pos.Before(s.resent) && s.learned.proven(p) && !s.refusing && !s.poison.probing
	s.exact = false
	if exact {
		lim.Scrapes, lim.Samples = s.reach(pos, s.resent)
		lim.Width = 0
		size = 0
	}
	for {
		if err := s.cursor.Read(&s.batch, from, lim); errors.Is(err, spool.ErrHeld) {
			s.stalledTo = now.Add(maxSleep)
			return false
		} else if err != nil {
			s.localFailure("cannot read the spool", err)
			return false
		}
		b := &s.batch
		if b.To == b.From {
			if s.poison.probing {
				s.poison.probing = false
			} else if s.cursor.Backlog().Samples > 0 {
				s.stall(now)
			}
			return false
		}
		s.stalls = 0
		if len(b.Times) > 0 && b.Times[0] >= lim.Before {
			s.ahead(now, pos)
			return false
		}
		s.enc.bare = s.turn.bare && !s.poison.probing
		s.enc.encode(&s.buf, b, p, now.UnixMilli())
		if b.Samples > 0 {
			s.density = float64(s.buf.raw) / float64(b.Samples)
		}
		if size == 0 || s.buf.raw <= size || b.Samples <= 1 {
			break
		}
		fit := int(float64(b.Samples) * float64(size) / float64(s.buf.raw) * 0.97)
		lim.Samples = max(1, min(fit, b.Samples-1))
	}
	if s.buf.samples == 0 {
		if s.poison.probing {
			s.poison.probing = false
			return false
		}
		s.ack(s.buf.to, s.buf.dropped)
		return false
	}
	s.req = &s.buf
	s.req.all = s.cursor.Backlog().Samples <= s.req.covers()
	return true
}

// stall waits for a scrape that is counted but cannot be read yet: it is about to
// be synced. That takes milliseconds; anything longer is worth a word.
func (s *Sender) stall(now time.Time) {
	s.stalls++
	s.stalledTo = now.Add(min(time.Millisecond<<min(s.stalls, 20), maxSleep))
	if s.stalls > 12 {
		s.notices.local(s, "cannot read the spool", errNothingRead)
	}
}

// limits are those of a batch that begins at pos.
func (s *Sender) limits(pos series.Position, p Protocol) (lim spool.Limits) {
	lim.Samples = s.o.MaxSamples
	if n := s.maxBytes(); s.density > 0 {
		lim.Samples = tighten(lim.Samples, max(1, int(float64(n)/s.density)))
	}
	if s.refusing || !s.learned.proven(p) {
		lim.Scrapes = 1
	}
	lim.Scrapes = tighten(lim.Scrapes, s.window.Scrapes)
	lim.Samples = tighten(lim.Samples, s.window.Samples)
	if p == V1 && s.aside.active(pos) {
		lim.Scrapes = tighten(lim.Scrapes, s.aside.size())
		s.endAt(&lim, pos, s.aside.until)
	}
	if pos.Before(s.resent) {
		s.endAt(&lim, pos, s.resent)
	}
	if pos.Before(s.tried) {
		s.endAt(&lim, pos, s.tried)
	}
	return lim
}

// endAt keeps a batch from pos in front of to, so that an answer to it is an answer
// to one kind of samples.
func (s *Sender) endAt(lim *spool.Limits, pos, to series.Position) {
	scrapes, samples := upTo(pos, to)
	lim.Scrapes = tighten(lim.Scrapes, scrapes)
	lim.Samples = tighten(lim.Samples, samples)
}

// reach returns limits with which a batch from pos ends exactly at to.
func (s *Sender) reach(pos, to series.Position) (scrapes, samples int) {
	scrapes, samples = upTo(pos, to)
	if to.Ordinal == 0 || samples > 0 {
		return scrapes, samples
	}
	if err := s.cursor.Read(&s.batch, pos, spool.Limits{Scrapes: scrapes}); err != nil {
		return scrapes, 0
	}
	return scrapes + 1, s.batch.Samples + int(to.Ordinal)
}

// maxBytes is the size that an uncompressed request may have.
func (s *Sender) maxBytes() int { return tighten(s.o.MaxBytes, s.learned.MaxBytes) }

// ahead deals with a scrape at pos that is stamped too far in front of the clock:
// it is dropped, unless it is the clock that is wrong.
func (s *Sender) ahead(now time.Time, pos series.Position) {
	if s.poison.probing {
		s.poison.probing = false
		return
	}
	if !series.ClockSet(now) {
		s.retryAt = now.Add(maxSleep)
		s.setState(StateClock, s.retryAt)
		s.notices.clock(s, now)
		return
	}
	if err := s.cursor.Read(&s.batch, pos, spool.Limits{Scrapes: 1}); err != nil {
		s.localFailure("cannot read the spool", err)
		return
	}
	var t series.Tally
	t.Lost[series.Future] = uint64(s.batch.Samples)
	t.Lost[series.Unreadable] = s.batch.Unreadable
	s.notices.future(s, s.batch.Samples, time.UnixMilli(s.batch.Times[0]))
	s.ack(s.batch.To, t)
}
