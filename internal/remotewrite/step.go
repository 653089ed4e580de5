// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"context"
	"errors"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

var errNothingRead = errors.New("there is a backlog, but nothing could be read of it")

// step builds the next request if there is none, makes one attempt, and acts on
// the answer.
func (s *Sender) step(ctx context.Context) {
	if !s.alone(ctx) {
		return
	}
	if s.req.body != nil && s.stale() {
		s.req = request{}
	}
	if s.req.body == nil && !s.build(ctx) {
		return
	}
	e := event{kind: answered, request: s.req, before: s.state.note.Barrier}
	leaving := s.state.leaving(s.req.to, time.Now())
	if err := s.cursor.Begin(ctx, s.head, s.req.to, leaving.note); err != nil {
		s.stumble(ctx, "cannot note what is in flight", err)
		return
	}
	defer s.cursor.End()
	s.state = leaving
	var ended bool
	if e.answer, ended = s.attempt(ctx); !ended {
		e.answer.sent = true // for all that is known
	}
	if e.answer.status == 0 && ctx.Err() != nil {
		e.kind = cut
		s.act(ctx, &e)
		return
	}
	e.more = s.cursor.Backlog().Samples > s.req.to.Count-s.head.Count
	e.verdict = judge(s.state.question(&s.o, &e), e.answer.status, e.answer.written.any)
	if aboutHistograms(&s.req, &e) {
		e.answer.text += histogramHint
	}
	s.record(&s.req, &e.answer, e.verdict, time.Now())
	s.act(ctx, &e)
}

// histogramHint stands behind an answer that may be to native histograms.
const histogramHint = " (the request has native histograms, which not every receiver takes; " +
	"SEND_NATIVE_HISTOGRAMS=false, or send_native_histograms: false in CONFIG_FILE, leaves them out)"

// aboutHistograms reports whether an answer may be to the native histograms of the
// request: a refusal, or a 5xx that is none of a gateway's.
func aboutHistograms(r *request, e *event) bool {
	status := e.answer.status
	return r.histograms > 0 && (e.verdict == floats || status >= 500 && status <= 599 && status != 502 && status != 503 && status != 504)
}

// stale reports whether the request in work is not to be sent again as it is: it has
// become one that is ahead of the clock, since that was set back; or nothing of it can be
// at the receiver, and more has come that can be merged with it.
func (s *Sender) stale() bool {
	r := &s.req
	return r.newest >= time.Now().Add(maxAhead).UnixMilli() ||
		r.all && !r.from.Before(s.state.note.Barrier) && s.cursor.Backlog().Samples > r.covers()
}

// act asks for the consequence of an event, and takes it.
func (s *Sender) act(ctx context.Context, e *event) {
	now := time.Now()
	var a action
	before := s.state.note
	s.state, a = plan(&s.o, s.state, *e, now, nil)
	s.tell(e, &a, now)
	s.retryAt = time.Time{}
	if a.wait > 0 {
		s.retryAt = now.Add(a.wait)
	}
	s.setState(a.show, s.retryAt)
	if a.renew {
		s.client.close()
	}
	if !a.repeat {
		s.req = request{}
	}
	for i, b := range a.book {
		if b.to.Scrape == 0 {
			break
		}
		s.arrived = time.Time{} // what is left, if it is young, waits its own time to be merged
		note := s.state.note
		if i+1 < len(a.book) && a.book[i+1].to.Scrape != 0 {
			note = before // what follows is not settled yet
		}
		if err := s.cursor.Ack(ctx, s.head, b.to, b.tally, note); err != nil {
			s.stumble(ctx, "cannot keep the position in the spool", err)
			break
		}
		s.head = b.to
	}
}

// tell notes an action in the log and the status, and what the receiver has by now.
func (s *Sender) tell(e *event, a *action, now time.Time) {
	r := &e.request
	if a.stored {
		unconfirmed := 0
		if e.verdict == delivered {
			s.enc.accepted(now.UnixMilli())
			if r.proto == V2 {
				unconfirmed = max(r.samples-e.answer.written.samples, 0)
			}
		}
		s.arrivedAtReceiver(r, unconfirmed, now)
	}
	if a.fellBack {
		s.notices.fellBack(s)
	}
	if n := a.book[0].tally.Lost[series.Poison]; n > 0 {
		s.notices.poison(s, n)
	}
	if n := a.book[0].tally.Lost[series.Future]; n > 0 {
		s.notices.future(s, n, time.UnixMilli(r.newest))
	}
	if a.show == StateClock {
		s.notices.clock(s, now)
	}
}

// stumble deals with an error of the spool. Where the cursor has moved, since what it
// stood at was evicted, the request is of no use.
func (s *Sender) stumble(ctx context.Context, what string, err error) {
	switch {
	case errors.Is(err, spool.ErrMoved):
		s.act(ctx, &event{kind: moved, pos: s.cursor.Position()})
	case ctx.Err() == nil:
		s.notices.local(s, what, err)
		s.act(ctx, &event{kind: local})
	}
}

// build makes the next request, and reports whether there is one to send. What is
// not to be sent at all is acknowledged here.
func (s *Sender) build(ctx context.Context) bool {
	now := time.Now()
	s.head = s.cursor.Position()
	p := s.state.protocol(&s.o, now)
	from, lim := s.state.limits(&s.o, s.head, p, s.density, now)
	size := s.state.maxBytes(&s.o)
	for {
		if err := s.read(ctx, from, lim); err != nil {
			s.stumble(ctx, "cannot read the spool", err)
			return false
		}
		b := s.batch
		switch n := len(b.Times); {
		case b.To == b.From:
			s.nothing(ctx, now)
			return false
		case n > 0 && b.Times[0] >= lim.Before:
			r := request{from: b.From, to: b.To, samples: b.Samples, newest: b.Times[0]}
			r.dropped.Lost = b.Lost
			s.act(ctx, &event{kind: ahead, request: r})
			return false
		case s.state.spans(from, b.To, n, b.Samples, &lim):
			continue
		}
		s.stalls = 0
		s.enc.bare, s.enc.floats, s.enc.reason = s.state.turn.bare(), s.state.turn.floats(), s.state.reason()
		s.enc.encode(&s.req, b, p, now.UnixMilli())
		if b.Samples > 0 {
			s.density = float64(s.req.raw) / float64(b.Samples)
		}
		if s.req.raw <= size || b.Samples <= 1 {
			break
		}
		fit := int(float64(b.Samples) * float64(size) / float64(s.req.raw) * 0.97)
		lim.Samples = max(1, min(fit, b.Samples-1))
	}
	if s.req.samples == 0 {
		s.act(ctx, &event{kind: vacant, request: s.req})
		return false
	}
	s.req.all = s.cursor.Backlog().Samples <= s.req.to.Count-s.head.Count
	return true
}

// read fills the batch. One that the disk did not answer for in time is the spool's.
func (s *Sender) read(ctx context.Context, from series.Position, lim spool.Limits) error {
	err := s.cursor.Read(ctx, s.batch, from, lim)
	if ctx.Err() != nil {
		s.batch = new(series.Batch)
	}
	return err
}

// nothing waits for a scrape that is counted but cannot be read yet: it is about to
// be synced. That takes milliseconds; anything longer is worth a word.
func (s *Sender) nothing(ctx context.Context, now time.Time) {
	if s.state.suspect.probing() {
		s.act(ctx, &event{kind: nothing})
		return
	}
	if s.cursor.Backlog().Samples == 0 {
		return
	}
	s.stalls++
	s.stalledTo = now.Add(min(time.Millisecond<<min(s.stalls, 20), maxSleep))
	if s.stalls > 12 {
		s.notices.local(s, "cannot read the spool", errNothingRead)
	}
}
