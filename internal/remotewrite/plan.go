// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// firstPace is the delay after a refusal on an endpoint that accepts nothing.
const firstPace = 5 * time.Second

// minLearnedSize is what a learned request size never falls below: a request that
// is refused as too large below twice of it is dropped.
const minLearnedSize = tooSmallToSplit / 2

// renewAfter is the number of failures in a row after which the next attempt makes a
// connection of its own: the receiver may have moved.
const renewAfter = 5

// event is what happened to a sender.
type event struct {
	kind eventKind
	// pos is where the cursor stands, for moved.
	pos series.Position
	// request is the one in work; for ahead the samples and bounds of a batch.
	request request
	// The answer, what it means, and the barrier before the request left.
	answer  answer
	verdict verdict
	before  series.Position
	// more: something waits behind the request.
	more bool
}

type eventKind uint8

const (
	// answered: an attempt came to its end, with an answer or without one.
	answered eventKind = iota
	// cut: an attempt was cut short by the end of Run.
	cut
	// moved: what was at the cursor was evicted.
	moved
	// local: something is wrong on this side.
	local
	// vacant: there is nothing in the request that is to be sent.
	vacant
	// ahead: what is next is stamped too far in front of the clock.
	ahead
	// nothing: there is nothing to probe with.
	nothing
)

// booking moves the cursor and says what became of the samples up to there.
type booking struct {
	to    series.Position // zero for none
	tally series.Tally
}

// action is what a sender does next.
type action struct {
	book     [2]booking    // in this order, one behind the other
	repeat   bool          // the same request is sent again, else another one is built
	wait     time.Duration // before the next attempt
	renew    bool          // that one resolves the receiver's name and connects anew
	show     State
	stored   bool // the receiver has taken something of the request
	fellBack bool // 1.0 is the choice now, and was not
}

// plan gives every event its one consequence. It knows no clock, no disk and no network.
func plan(o *Options, s state, e event, now time.Time, random func() float64) (state, action) {
	switch e.kind {
	case cut:
		s = s.settled(&e)
		repeat := !s.suspect.probing()
		s.suspect = s.suspect.interrupted()
		return s, action{repeat: repeat, show: s.shown()}
	case moved:
		return s.at(e.pos), action{show: s.shown()}
	case local, nothing:
		s.suspect = s.suspect.interrupted()
		return s.backingOff(o, &e.answer, now, random)
	case vacant:
		if s.suspect.probing() {
			s.suspect = s.suspect.joined(booking{e.request.to, e.request.dropped})
			return s, action{show: s.shown()}
		}
		return s.booked(e.request.to, e.request.dropped)
	case ahead:
		return s.ahead(o, &e, now, random)
	}
	s = s.settled(&e)
	if s.suspect.probing() {
		return s.probed(o, &e, now, random)
	}
	s.suspect = s.suspect.answered(&e.request, e.answer.status, e.more, now)
	switch e.verdict {
	case delivered:
		return s.delivered(o, &e, now, random)
	case counted:
		if e.answer.written.samples > 0 {
			return s.delivered(o, &e, now, random)
		}
		s.note.Learned.V2, s.note.Learned.FellBack = true, 0
		return s.refused(o, &e, s.reason())
	case again:
		return s.again(o, &e, now, random)
	case split:
		s.note.Learned.MaxBytes = max(e.request.raw/2, minLearnedSize)
	case tooLarge:
		return s.refused(o, &e, series.TooLarge)
	case otherProtocol:
		return s.otherProtocol(&e, now)
	case tryV1:
		s.turn = once
	case bare:
		s.turn = stripped
	case floats:
		s.turn = s.turn.withoutHistograms()
	case narrowed:
		s = s.putAside(&e)
	case refused:
		s, act := s.refused(o, &e, s.reason())
		act.wait = max(act.wait, e.answer.asked(random))
		return s, act
	case refusing:
		return s.turnedAway(o, &e)
	}
	s.fails = 0
	return s, action{show: s.shown()}
}

// putAside makes what follows go scrape by scrape.
func (s state) putAside(e *event) state {
	r := &e.request
	if s.mixed(r, e.before) {
		s.aside.row = -r.scrapes
	}
	if s.aside.until.Before(r.to) {
		s.aside.until = r.to
	}
	return s
}

// shown is the state to show while nothing is waited for.
func (s state) shown() State {
	if s.refusing {
		return StateRefusing
	}
	return StateOK
}

// settled is what an attempt that has ended says of the barrier: what never left, what
// was answered 429 and what was not understood is not at the receiver; of what left
// without an answer nobody knows.
func (s state) settled(e *event) state {
	switch a := &e.answer; {
	case a.status == 429, a.status == 0 && !a.sent, e.verdict == otherProtocol:
		s.note.Barrier = e.before
	case a.lost():
		s.note.AnswerLost = true
	}
	return s
}

// reason is what a refusal of the request at the head is counted as: a batch never spans
// the barrier, so if the answer to something in front of it was lost, most of it may have
// been stored then.
func (s state) reason() series.Loss {
	if s.note.AnswerLost {
		return series.RefusedAfterResend
	}
	return series.Refused
}

// booked moves the cursor.
func (s state) booked(to series.Position, t series.Tally) (state, action) {
	return s.at(to), action{book: [2]booking{{to, t}}, show: s.shown()}
}

// delivered acts on an acceptance, also of a part that the answer counts.
func (s state) delivered(o *Options, e *event, now time.Time, random func() float64) (state, action) {
	r, l := &e.request, &s.note.Learned
	fellBack := s.turn.inV1()
	t := r.dropped
	t.Delivered = uint64(r.samples)
	if e.verdict == counted {
		t.Delivered = uint64(min(e.answer.written.samples, r.samples))
		t.Lost[s.reason()] += uint64(r.samples) - t.Delivered
	}
	switch {
	case r.proto == V2:
		l.V2, l.FellBack = true, 0
	case fellBack:
		l.V1, l.V2, l.FellBack = true, false, now.Unix()
	default:
		l.V1 = true
	}
	// A learned size grows back by a quarter in 16 full requests.
	if l.MaxBytes != 0 && r.raw >= l.MaxBytes/4*3 {
		if l.MaxBytes += l.MaxBytes / 64; l.MaxBytes >= o.MaxBytes {
			l.MaxBytes = 0
		}
	}
	s.refusing, s.refusals, s.aside.row, s.suspect = false, 0, 0, suspect{}
	var ease time.Duration
	s.backoff, ease = s.backoff.Accepted(o.delays(), s.size.Narrowed(), random)
	s.size = s.size.Accepted(r.scrapes, r.samples, r.to.Ordinal != 0, e.more)
	s, act := s.booked(r.to, t)
	act.stored, act.fellBack = true, fellBack
	if e.more {
		act.wait = max(Pace(r.samples, o.RateLimit)-e.answer.took, ease)
	}
	return s, act
}

// refused gives up on the request. Refusals are paced: an endpoint that accepts nothing
// must not empty a backlog at the speed of the network. Those of what was sent before
// are not: they are few, and tell nothing of the endpoint.
func (s state) refused(o *Options, e *event, loss series.Loss) (state, action) {
	r := &e.request
	t := r.dropped
	t.Lost[loss] += uint64(r.samples)
	s.aside.row++
	s.backoff = Backoff{}
	wait := time.Duration(0)
	if loss != series.RefusedAfterResend {
		if s.refusals++; s.refusals > 1 {
			wait = min(firstPace<<min(s.refusals-2, 20), o.MaxBackoff)
		}
	}
	s, act := s.booked(r.to, t)
	act.wait, act.renew, act.show = wait, wait > 0, StateOK
	return s, act
}

// turnedAway acts on an endpoint that says no as a whole, or is not there. A merged
// request is narrowed: to drop it would cost a backlog's worth of scrapes each time. 407
// is a proxy's: the receiver has not seen the request. It may be an old address that
// refuses, so that each attempt resolves the name anew.
func (s state) turnedAway(o *Options, e *event) (state, action) {
	s.refusing = true
	act := action{repeat: e.request.scrapes == 1}
	if e.request.scrapes == 1 && !o.HoldOnAuthError && e.answer.status != 407 {
		s, act = s.refused(o, e, s.reason())
	}
	s.fails = 0
	act.wait, act.renew, act.show = o.MaxBackoff, true, StateRefusing
	return s, act
}

// otherProtocol makes the other protocol the choice for this receiver.
func (s state) otherProtocol(e *event, now time.Time) (state, action) {
	l := &s.note.Learned
	s.fails = 0
	if e.request.proto == V1 {
		s.turn, l.V1, l.FellBack = without1, false, 0
		return s, action{show: s.shown()}
	}
	s.turn, l.V2, l.FellBack = without2, false, now.Unix()
	return s, action{show: s.shown(), fellBack: true}
}

// again acts on a failure that may pass.
func (s state) again(o *Options, e *event, now time.Time, random func() float64) (state, action) {
	r, a := &e.request, &e.answer
	s, act := s.backingOff(o, a, now, random)
	switch {
	case a.status == 0 && !a.sent:
		// A connection that cannot be made is no matter of size.
		act.repeat = true
	case s.turn == doubted:
		s.turn = byChoice // 1.0 does no better
	default:
		if r.scrapes > 1 && r.from.Before(s.aside.until) && a.status != 429 {
			s.aside.row = -r.scrapes // a part of the pack may be stored by now
		}
		s.fails++
		act.renew = s.fails%renewAfter == 0
		if s.fails%NarrowAfter == 0 && s.doubtful(o, r, a) {
			s.turn = doubted
			break
		}
		size := s.size.Failed(s.fails, r.scrapes, r.samples)
		act.repeat, s.size = size == s.size, size
	}
	if s.suspect.probing() {
		act.repeat, act.wait = false, 0
	}
	return s, act
}

// doubtful reports whether a 5xx may be a receiver's way to say that it does not
// understand 2.0. What gateways answer for a receiver that is down does not count.
func (s state) doubtful(o *Options, r *request, a *answer) bool {
	return o.Protocol == Auto && s.turn == byChoice && r.proto == V2 && !s.proven(V2) &&
		a.status >= 500 && a.status <= 599 && a.status != 502 && a.status != 503 && a.status != 504
}

// backingOff waits before another request is built, and at least as long as the answer
// asks for.
func (s state) backingOff(o *Options, a *answer, now time.Time, random func() float64) (state, action) {
	act := action{show: StateBackingOff}
	s.backoff, act.wait = s.backoff.Failed(o.delays(), now, a.status == 429, random)
	act.wait = max(act.wait, a.asked(random))
	return s, act
}

// probed acts on the answer to what follows a suspect. If the receiver takes it, or says
// no to these very samples, the suspect is at fault and given up; otherwise that one is next.
func (s state) probed(o *Options, e *event, now time.Time, random func() float64) (state, action) {
	given := s.suspect.given
	var act action
	switch status := e.answer.status; {
	case e.verdict == delivered, e.verdict == counted && e.answer.written.samples > 0:
		s, act = s.delivered(o, e, now, random)
	case e.verdict == counted, e.verdict == refused && (status == 400 || status == 409 || status == 422):
		s, act = s.refused(o, e, s.reason())
		s.suspect.since = time.Time{}
	default:
		s.suspect = s.suspect.acquitted(&e.request, status)
		return s.backingOff(o, &e.answer, now, random)
	}
	act.book = [2]booking{given, act.book[0]}
	return s, act
}

// ahead deals with samples that are stamped too far in front of the clock: they are
// dropped, unless it is the clock that is wrong.
func (s state) ahead(o *Options, e *event, now time.Time, random func() float64) (state, action) {
	switch {
	case s.suspect.probing():
		s.suspect = s.suspect.interrupted()
		return s.backingOff(o, &e.answer, now, random)
	case !series.ClockSet(now):
		return s, action{wait: maxSleep, show: StateClock}
	}
	t := e.request.dropped
	t.Lost[series.Future] += uint64(e.request.samples)
	return s.booked(e.request.to, t)
}
