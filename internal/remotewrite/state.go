// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

const (
	// maxAhead is how far in front of the clock a sample may be stamped. One host with
	// a fast clock can close a receiver for all others.
	maxAhead = 2 * time.Minute
	// retryV2After is how long a receiver that did not understand 2.0 is left alone
	// with it.
	retryV2After = 6 * time.Hour
	// minWidth is the number of samples of one scrape that any request may carry.
	minWidth = 10_000
)

// state is all that a sender knows of its endpoint. It is a value: plan is given one
// and returns the next. What the next request may be is a function of it.
type state struct {
	// note is what survives a restart: the barrier, and what was learned.
	note spool.Note

	// About the request at the head of the queue; they begin anew when the cursor moves.
	turn    turn
	fails   int // in a row, with a connection
	suspect suspect

	// About the endpoint.
	backoff  Backoff
	size     Sizing
	aside    aside
	refusing bool // a single scrape is tried every MaxBackoff
	refusals int  // since something was accepted, and one at the start
}

// turn is which protocol the request at the head is tried in, and why.
type turn uint8

const (
	// byChoice: in the one that is the choice for this receiver.
	byChoice turn = iota
	// without2 and without1: the other one was not understood.
	without2
	without1
	// once: in 1.0, since 2.0 was refused. 2.0 remains the choice unless that is accepted.
	once
	// doubted: likewise, since 2.0 got 5xx.
	doubted
	// stripped: it was refused with its exemplars.
	stripped
	// onlyFloats: it was refused with its native histograms. onceFloats: once or doubted, likewise.
	onlyFloats
	onceFloats
)

// inV1: the request is tried in 1.0 although 2.0 is the choice.
func (t turn) inV1() bool { return t == once || t == doubted || t == onceFloats }

// bare: the request goes without its exemplars, so that an answer is about its samples.
func (t turn) bare() bool { return t.inV1() || t == stripped || t == onlyFloats }

// floats: it goes without its native histograms.
func (t turn) floats() bool { return t == onlyFloats || t == onceFloats }

// withoutHistograms is the turn behind this one that goes without native histograms.
func (t turn) withoutHistograms() turn {
	if t.inV1() {
		return onceFloats
	}
	return onlyFloats
}

// aside takes the scrapes of a merged request that was refused whole one by one, so
// that a bad one costs no other.
type aside struct {
	until series.Position // end of what was refused
	// row counts refusals in a row. Where some of the scrapes may be at the receiver it
	// begins that far below zero: a pack of them and of others would be refused for them.
	row int
}

// size is how many scrapes the next request carries: one, and after four refusals
// in a row 2, 4, 8 and so on, since what is behind an hour of refused scrapes must
// not wait for each of them.
func (a aside) size() int {
	if a.row < 4 {
		return 1
	}
	return 1 << min(a.row-3, 16)
}

// begin is the state of a sender whose cursor stands at pos with that note. A barrier
// beyond it says that a process, or a sender, ended before it had the answer.
func begin(note spool.Note, pos series.Position) state {
	if n := &note.Learned.MaxBytes; *n != 0 {
		*n = max(*n, minLearnedSize)
	}
	note.AnswerLost = true
	return state{note: note, refusals: 1}.at(pos)
}

// at is the state when the cursor has moved to pos.
func (s state) at(pos series.Position) state {
	s.turn, s.fails = byChoice, 0
	s.suspect = suspect{since: s.suspect.since}
	if !pos.Before(s.note.Barrier) {
		s.note.Barrier, s.note.AnswerLost = series.Position{}, false
	}
	return s
}

// leaving is the state when a request that ends at to is about to leave.
func (s state) leaving(to series.Position, now time.Time) state {
	if s.note.Barrier.Before(to) {
		s.note.Barrier = to
	}
	// Where the clock was set back, a choice that was made later than now is made now.
	s.note.Learned.FellBack = min(s.note.Learned.FellBack, now.Unix())
	return s
}

// proven reports whether the receiver has accepted a request in that protocol, and
// since then none that it did not understand.
func (s state) proven(p Protocol) bool {
	l := &s.note.Learned
	return p == V2 && l.V2 && l.FellBack == 0 || p == V1 && l.V1
}

// protocol is the one for the next request.
func (s state) protocol(o *Options, now time.Time) Protocol {
	fellBack := s.note.Learned.FellBack
	switch {
	case o.Protocol != Auto:
		return o.Protocol
	case s.turn.inV1():
		return V1
	case fellBack != 0 && now.Sub(time.Unix(fellBack, 0)) < retryV2After:
		return V1
	}
	return V2
}

// limits are where the next request begins and how far it goes, with the cursor at pos.
// density is the bytes a sample that requests take before compression, 0 if unknown.
func (s state) limits(o *Options, pos series.Position, p Protocol, density float64, now time.Time) (from series.Position, lim spool.Limits) {
	from, lim.Samples = pos, o.MaxSamples
	// What a request needs in memory, some 250 bytes a series, then does not grow with
	// the target; and merging, which a scrape that is sent in parts does without, would
	// save it little.
	lim.Width = max(o.MaxSamples/3, minWidth)
	lim.Before = now.Add(maxAhead).UnixMilli()
	if density > 0 {
		lim.Samples = tighten(lim.Samples, max(1, int(float64(s.maxBytes(o))/density)))
	}
	if s.refusing || !s.proven(p) {
		lim.Scrapes = 1
	}
	if s.suspect.probing() {
		from, lim.Scrapes, lim.Samples = s.suspect.given.to, 1, tighten(lim.Samples, minPiece)
	} else {
		scrapes, samples := s.size.Limits()
		lim.Scrapes, lim.Samples = tighten(lim.Scrapes, scrapes), tighten(lim.Samples, samples)
	}
	if from.Before(s.aside.until) {
		lim.Scrapes = tighten(lim.Scrapes, s.aside.size())
		endAt(&lim, from, s.aside.until)
	}
	// An answer is then an answer to one kind of samples.
	if from.Before(s.note.Barrier) {
		endAt(&lim, from, s.note.Barrier)
	}
	return from, lim
}

// endAt keeps a batch from pos in front of to.
func endAt(lim *spool.Limits, pos, to series.Position) {
	scrapes, samples := upTo(pos, to)
	lim.Scrapes, lim.Samples = tighten(lim.Scrapes, scrapes), tighten(lim.Samples, samples)
}

// spans reports whether a batch of that many scrapes and samples holds some on either
// side of the barrier, which it does where scrapes in front of it are missing, and
// tightens the limits that it was read with.
func (s state) spans(from, to series.Position, scrapes, samples int, lim *spool.Limits) bool {
	end := s.note.Barrier
	if !from.Before(end) || !end.Before(to) {
		return false
	}
	if scrapes > 1 {
		lim.Scrapes = scrapes - 1
		return true
	}
	if n := int(end.Ordinal); n > 0 && samples > n {
		lim.Samples = n
		return true
	}
	return false
}

// maxBytes is the size that an uncompressed request may have.
func (s state) maxBytes(o *Options) int { return tighten(o.MaxBytes, s.note.Learned.MaxBytes) }

// mixed reports whether a part of r may be at the receiver, and another not. What is
// looked into scrape by scrape was refused as a whole.
func (s state) mixed(r *request, before series.Position) bool {
	return r.from.Before(before) && !r.from.Before(s.aside.until)
}

// question is what the meaning of an answer depends on.
func (s state) question(o *Options, e *event) question {
	r := &e.request
	mergeable := r.scrapes > s.aside.size() || r.scrapes > 1 && s.mixed(r, e.before)
	nothing := e.answer.written.samples == 0
	return question{
		proto: r.proto, pinned: o.Protocol != Auto, v2Accepted: s.proven(V2),
		otherFailed: s.turn.inV1() || r.proto == V1 && s.turn == without2 || r.proto == V2 && s.turn == without1,
		mergeable:   mergeable && (nothing || r.proto == V1), divisible: r.samples > 1, raw: r.raw,
		exemplars:  r.exemplars > 0 && nothing && !s.suspect.probing(),
		histograms: r.histograms > 0 && nothing && !s.suspect.probing(), final429: o.DropOn429,
	}
}
