// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// at is the position in front of a scrape of four samples.
func at(scrape uint64) series.Position {
	return series.Position{Scrape: scrape, Count: 4 * (scrape - 1)}
}

// planned are the options of the tables.
func planned() *Options {
	return &Options{MaxSamples: 30_000, MaxBytes: 1 << 20, MinBackoff: time.Second, MaxBackoff: time.Minute}
}

var noon = time.Unix(1_790_000_000, 0)

// TestPlanCells has a row for each cell of DESIGN.md's table of answers: what becomes of a
// request of so many scrapes in a protocol, and what is next.
func TestPlanCells(t *testing.T) {
	type learned = spool.Learned
	type row struct {
		name    string
		pin     Protocol
		hold    bool
		drop429 bool
		backoff Backoff
		fails   int
		known   learned
		turn    turn
		lost    bool // an answer in front of the barrier was
		proto   Protocol
		scrapes int
		raw     int // 0: 100 bytes a sample
		status  int
		sent    bool // with status 0
		written int  // -1 for no header
		retry   time.Duration

		verdict verdict
		taken   uint64
		losses  map[series.Loss]uint64
		kept    bool          // nothing is booked
		repeat  bool          // the same request goes out again
		wait    time.Duration // at most, and at least half of it
		renew   bool          // with a new connection; it is so after each paced refusal
		show    State
		check   func(state) bool
	}
	const v2, v1 = true, true
	both := learned{V2: v2, V1: v1}
	only1 := learned{V1: v1, FellBack: noon.Unix() - 60}
	no := func(n uint64) map[series.Loss]uint64 { return map[series.Loss]uint64{series.Refused: n} }
	resent := func(n uint64) map[series.Loss]uint64 { return map[series.Loss]uint64{series.RefusedAfterResend: n} }
	rows := []row{
		{name: "2xx with Written", proto: V2, scrapes: 1, status: 204, written: 4, verdict: delivered, taken: 4,
			check: func(s state) bool { return s.proven(V2) && s.note.Barrier == series.Position{} }},
		{name: "2xx with less Written", known: both, proto: V2, scrapes: 3, status: 200, written: 1, verdict: delivered, taken: 12},
		{name: "2xx to 1.0", known: only1, proto: V1, scrapes: 3, status: 200, written: -1, verdict: delivered, taken: 12,
			check: func(s state) bool { return s.note.Learned.FellBack == only1.FellBack }},
		{name: "2xx to 2.0 without Written", known: both, proto: V2, scrapes: 3, status: 204, written: -1, verdict: otherProtocol, kept: true,
			check: func(s state) bool {
				return s.protocol(planned(), noon) == V1 && !s.proven(V2) && s.turn == without2 && s.note.Barrier == series.Position{}
			}},
		{name: "the same, pinned", pin: V2, proto: V2, scrapes: 1, status: 204, written: -1, verdict: refused, losses: no(4), wait: 5 * time.Second},
		{name: "415 to 2.0", proto: V2, scrapes: 1, status: 415, written: -1, verdict: otherProtocol, kept: true},
		{name: "415 to 1.0 too", turn: without2, known: learned{FellBack: noon.Unix()}, proto: V1, scrapes: 1, status: 415, written: -1, verdict: refused, losses: no(4), wait: 5 * time.Second},
		{name: "415 to 1.0", known: only1, proto: V1, scrapes: 2, status: 415, written: -1, verdict: otherProtocol, kept: true,
			check: func(s state) bool {
				return s.protocol(planned(), noon) == V2 && s.turn == without1 && !s.proven(V1)
			}},
		{name: "415 to 2.0 after that", turn: without1, proto: V2, scrapes: 1, status: 415, written: -1, verdict: refused, losses: no(4), wait: 5 * time.Second},
		{name: "415, pinned", pin: V1, proto: V1, scrapes: 1, status: 415, written: -1, verdict: refused, losses: no(4), wait: 5 * time.Second},

		{name: "no connection", known: both, proto: V2, scrapes: 3, written: -1, verdict: again, kept: true, repeat: true, wait: time.Second, show: StateBackingOff,
			check: func(s state) bool { return s.note.Barrier == series.Position{} && !s.note.AnswerLost && s.fails == 0 }},
		{name: "an answer lost", known: both, proto: V2, scrapes: 3, sent: true, written: -1, verdict: again, kept: true, repeat: true, wait: time.Second, show: StateBackingOff,
			check: func(s state) bool { return s.note.Barrier == at(4) && s.note.AnswerLost && s.fails == 1 }},
		{name: "429", known: both, proto: V2, scrapes: 3, status: 429, written: -1, verdict: again, kept: true, repeat: true, wait: time.Second, show: StateBackingOff,
			check: func(s state) bool { return s.note.Barrier == series.Position{} && !s.note.AnswerLost }},
		{name: "429 with Retry-After", known: both, proto: V2, scrapes: 3, status: 429, written: -1, retry: time.Minute, verdict: again, kept: true, repeat: true, wait: 72 * time.Second, show: StateBackingOff},
		{name: "429 to what was sent before", lost: true, known: both, proto: V2, scrapes: 3, status: 429, written: -1, verdict: again, kept: true, repeat: true, wait: time.Second, show: StateBackingOff,
			check: func(s state) bool { return s.note.Barrier == at(4) && s.note.AnswerLost }},
		{name: "503 with Retry-After", known: both, proto: V2, scrapes: 3, status: 503, written: -1, retry: time.Minute, verdict: again, kept: true, repeat: true, wait: 72 * time.Second, show: StateBackingOff},
		{name: "a Retry-After shorter than the backoff", backoff: Backoff{since: noon.Add(-time.Hour)}, known: both, proto: V2, scrapes: 3, status: 503, written: -1, retry: time.Second, verdict: again, kept: true, repeat: true, wait: time.Minute, show: StateBackingOff},
		{name: "the same with 429", backoff: Backoff{since: noon.Add(-time.Hour), level: 40 * time.Second}, known: both, proto: V2, scrapes: 3, status: 429, written: -1, retry: time.Second, verdict: again, kept: true, repeat: true, wait: time.Minute, show: StateBackingOff},
		{name: "408 with Retry-After", known: both, proto: V2, scrapes: 3, status: 408, written: -1, retry: time.Minute, verdict: again, kept: true, repeat: true, wait: time.Second, show: StateBackingOff},
		{name: "429 that is final", drop429: true, known: both, proto: V2, scrapes: 3, status: 429, written: -1, verdict: refused, losses: no(12), wait: 5 * time.Second},
		{name: "the same to 1.0", drop429: true, known: only1, proto: V1, scrapes: 3, status: 429, written: -1, verdict: refused, losses: no(12), wait: 5 * time.Second},
		{name: "the same to a 2.0 never accepted", drop429: true, proto: V2, scrapes: 1, status: 429, written: -1, verdict: refused, losses: no(4), wait: 5 * time.Second},
		{name: "the same with Retry-After", drop429: true, known: both, proto: V2, scrapes: 3, status: 429, written: -1, retry: time.Minute, verdict: refused, losses: no(12), wait: 72 * time.Second},
		{name: "the same to what was sent before", drop429: true, lost: true, known: both, proto: V2, scrapes: 3, status: 429, written: -1, verdict: refused, losses: resent(12)},
		{name: "the fifth failure", fails: renewAfter - 1, known: both, proto: V2, scrapes: 1, status: 503, written: -1, verdict: again, kept: true, repeat: true, wait: time.Second, renew: true, show: StateBackingOff},
		{name: "the sixth", fails: renewAfter, known: both, proto: V1, scrapes: 1, sent: true, written: -1, verdict: again, kept: true, repeat: true, wait: time.Second, show: StateBackingOff},

		{name: "407 to a single scrape", known: both, proto: V2, scrapes: 1, status: 407, written: -1, verdict: refusing, kept: true, repeat: true, wait: time.Minute, show: StateRefusing,
			check: func(s state) bool { return s.refusing }},
		{name: "407 to more", known: both, proto: V1, scrapes: 3, status: 407, written: -1, verdict: refusing, kept: true, wait: time.Minute, show: StateRefusing,
			check: func(s state) bool { return s.refusing }},
	}
	for _, status := range []int{500, 501, 502, 503, 504, 507, 599} {
		rows = append(rows, row{name: "5xx with Retry-After", known: both, proto: V1, scrapes: 3, status: status, written: -1, retry: time.Minute, verdict: again, kept: true, repeat: true, wait: 72 * time.Second, show: StateBackingOff})
	}
	for _, status := range []int{405, 406} {
		rows = append(rows,
			row{name: "as 415", proto: V2, scrapes: 1, status: status, written: -1, verdict: otherProtocol, kept: true,
				check: func(s state) bool { return s.turn == without2 && s.protocol(planned(), noon) == V1 }},
			row{name: "as 415, accepted before", known: both, proto: V2, scrapes: 3, status: status, written: -1, verdict: otherProtocol, kept: true,
				check: func(s state) bool { return s.note.Barrier == series.Position{} && !s.proven(V2) }},
			row{name: "as 415, pinned", pin: V2, proto: V2, scrapes: 1, status: status, written: -1, verdict: refused, losses: no(4), wait: 5 * time.Second},
			row{name: "to 1.0 too", turn: without2, known: learned{FellBack: noon.Unix()}, proto: V1, scrapes: 1, status: status, written: -1, verdict: refused, losses: no(4), wait: 5 * time.Second},
			row{name: "to 1.0", known: only1, proto: V1, scrapes: 3, status: status, written: -1, verdict: refused, losses: no(12), wait: 5 * time.Second})
	}
	for _, status := range []int{101, 199, 408, 421, 425, 500, 502, 503, 504, 599, 600, 999} {
		for _, p := range []Protocol{V2, V1} {
			rows = append(rows, row{name: "kept", known: both, proto: p, scrapes: 3, status: status, written: -1, verdict: again, kept: true, repeat: true, wait: time.Second, show: StateBackingOff,
				check: func(s state) bool { return s.note.Barrier == at(4) && !s.note.AnswerLost && s.fails == 1 }})
		}
	}
	for _, status := range []int{400, 409, 422} {
		rows = append(rows,
			row{name: "counts", known: both, proto: V2, scrapes: 3, status: status, written: 5, verdict: counted, taken: 5, losses: no(7)},
			row{name: "counts nothing", proto: V2, scrapes: 1, status: status, written: 0, verdict: counted, losses: no(4), wait: 5 * time.Second,
				check: func(s state) bool { return s.proven(V2) }},
			row{name: "counts what was sent before", lost: true, known: both, proto: V2, scrapes: 3, status: status, written: 5, verdict: counted, taken: 5, losses: resent(7)},
			row{name: "to a 2.0 never accepted", proto: V2, scrapes: 1, status: status, written: -1, verdict: tryV1, kept: true,
				check: func(s state) bool { return s.turn == once && s.protocol(planned(), noon) == V1 }},
			row{name: "to 1.0 tried once", turn: once, proto: V1, scrapes: 1, status: status, written: -1, verdict: refused, losses: no(4), wait: 5 * time.Second,
				check: func(s state) bool {
					return s.turn == byChoice && s.protocol(planned(), noon) == V2 && s.note.Learned == learned{}
				}},
			row{name: "to a single 2.0 scrape", known: both, proto: V2, scrapes: 1, status: status, written: -1, verdict: refused, losses: no(4), wait: 5 * time.Second,
				check: func(s state) bool { return s.aside.row == 1 }},
			row{name: "to a pinned 2.0", pin: V2, proto: V2, scrapes: 1, status: status, written: -1, verdict: refused, losses: no(4), wait: 5 * time.Second},
			row{name: "to a single 1.0 scrape", known: only1, proto: V1, scrapes: 1, status: status, written: -1, verdict: refused, losses: no(4), wait: 5 * time.Second,
				check: func(s state) bool { return s.aside.row == 1 }},
			row{name: "to a single 1.0 scrape that was sent before", lost: true, known: only1, proto: V1, scrapes: 1, status: status, written: -1, verdict: refused, losses: resent(4)},
		)
	}
	for _, status := range []int{400, 409, 422} {
		for _, c := range []struct {
			name    string
			known   learned
			proto   Protocol
			written int
		}{{"to merged 1.0", only1, V1, -1}, {"to merged 2.0", both, V2, -1}, {"to merged 2.0 that counts nothing", both, V2, 0}} {
			rows = append(rows,
				row{name: c.name, known: c.known, proto: c.proto, scrapes: 3, status: status, written: c.written, verdict: narrowed, kept: true,
					check: func(s state) bool { return s.aside == aside{until: at(4)} }},
				row{name: c.name + " and was sent before", lost: true, known: c.known, proto: c.proto, scrapes: 3, status: status, written: c.written, verdict: narrowed, kept: true,
					check: func(s state) bool { return s.aside == aside{until: at(4), row: -3} }})
		}
	}
	for _, status := range []int{401, 402, 403, 404, 300, 301, 302, 303, 304, 305, 307, 308, 399} {
		rows = append(rows,
			row{name: "merged", known: both, proto: V2, scrapes: 3, status: status, written: -1, verdict: refusing, kept: true, wait: time.Minute, show: StateRefusing,
				check: func(s state) bool { return s.refusing }},
			row{name: "single", known: both, proto: V1, scrapes: 1, status: status, written: -1, verdict: refusing, losses: no(4), wait: time.Minute, show: StateRefusing,
				check: func(s state) bool { return s.refusing }},
			row{name: "single, held", hold: true, known: both, proto: V1, scrapes: 1, status: status, written: -1, verdict: refusing, kept: true, repeat: true, wait: time.Minute, show: StateRefusing},
		)
	}
	for _, status := range []int{410, 411, 412, 414, 416, 418, 423, 424, 426, 428, 431, 451, 499} {
		for _, p := range []Protocol{V2, V1} {
			rows = append(rows, row{name: "another 4xx", known: both, proto: p, scrapes: 3, status: status, written: -1, verdict: refused, losses: no(12), wait: 5 * time.Second})
		}
	}
	for _, p := range []Protocol{V2, V1} {
		rows = append(rows,
			row{name: "413", known: both, proto: p, scrapes: 3, raw: 100_000, status: 413, written: -1, verdict: split, kept: true,
				check: func(s state) bool { return s.note.Learned.MaxBytes == 50_000 }},
			row{name: "413 to little", known: both, proto: p, scrapes: 3, raw: 64<<10 - 1, status: 413, written: -1, verdict: tooLarge,
				losses: map[series.Loss]uint64{series.TooLarge: 12}, wait: 5 * time.Second})
	}
	for _, c := range rows {
		o := planned()
		o.Protocol, o.HoldOnAuthError, o.DropOn429 = c.pin, c.hold, c.drop429
		s := state{note: spool.Note{Learned: c.known}, turn: c.turn, refusals: 1, backoff: c.backoff, fails: c.fails}
		r := request{proto: c.proto, from: at(1), to: at(uint64(c.scrapes) + 1), scrapes: c.scrapes, samples: 4 * c.scrapes, raw: c.raw}
		if c.raw == 0 {
			r.raw = 100 * r.samples
		}
		if c.lost {
			s.note.Barrier, s.note.AnswerLost = r.to, true
		}
		e := event{request: r, before: s.note.Barrier, more: true}
		e.answer = answer{status: c.status, sent: c.sent, retry: c.retry, written: written{c.written >= 0, max(c.written, 0)}}
		s = s.leaving(r.to, noon)
		e.verdict = judge(s.question(o, &e), c.status, c.written >= 0)
		got, a := plan(o, s, e, noon, func() float64 { return 0.9999 })
		fail := func(format string, args ...any) {
			t.Errorf("%s: %d to %d scrapes in %s: "+format, append([]any{c.name, c.status, c.scrapes, c.proto}, args...)...)
		}
		if e.verdict != c.verdict {
			fail("%v, want %v", e.verdict, c.verdict)
		}
		want := booking{}
		if !c.kept {
			want.to, want.tally.Delivered = r.to, c.taken
			for l, n := range c.losses {
				want.tally.Lost[l] = n
			}
		}
		if a.book != [2]booking{want} {
			fail("books %+v, want %+v", a.book, want)
		}
		if a.repeat != c.repeat || a.show != c.show || a.wait > c.wait || a.wait < c.wait/2 {
			fail("the same again %v, waits %s and shows %s, want %v, %s, %s", a.repeat, a.wait, a.show, c.repeat, c.wait, c.show)
		}
		if want := c.renew || c.show != StateBackingOff && c.wait > 0; a.renew != want {
			fail("a new connection: %v, want %v", a.renew, want)
		}
		if c.check != nil && !c.check(got) {
			fail("then %+v", got)
		}
	}
}

// TestPlanLocal: what is no answer.
func TestPlanLocal(t *testing.T) {
	sent := request{proto: V1, from: at(1), to: at(4), scrapes: 3, samples: 12}
	barrier := state{note: spool.Note{Barrier: at(4)}}
	probing := barrier
	probing.suspect = suspect{stage: probe, given: booking{to: at(2), tally: series.Tally{Lost: [series.Losses]uint64{series.Poison: 4}}}}
	empty := request{from: at(1), to: at(2)}
	empty.dropped.Lost[series.Relabelled] = 4
	behind := request{from: at(2), to: at(3), dropped: empty.dropped}
	early := request{from: at(1), to: at(2), samples: 3}
	early.dropped.Lost[series.Unreadable] = 1
	for _, c := range []struct {
		name   string
		s      state
		e      event
		now    time.Time
		booked uint64
		a      action
		check  func(state) bool
	}{
		{"cut short", barrier, event{kind: cut, request: sent, answer: answer{sent: true}}, noon, 0, action{repeat: true},
			func(s state) bool { return s.note.AnswerLost && s.note.Barrier == at(4) }},
		{"cut short before it left", barrier, event{kind: cut, request: sent}, noon, 0, action{repeat: true},
			func(s state) bool { return !s.note.AnswerLost && s.note.Barrier == series.Position{} }},
		{"a probe cut short", probing, event{kind: cut, request: sent, answer: answer{sent: true}}, noon, 0, action{},
			func(s state) bool { return s.note.AnswerLost && !s.suspect.probing() }},
		{"moved within the barrier", probing, event{kind: moved, pos: at(3)}, noon, 0, action{},
			func(s state) bool { return s.note.Barrier == at(4) && s.suspect == suspect{} }},
		{"moved beyond the barrier", barrier, event{kind: moved, pos: at(4)}, noon, 0, action{},
			func(s state) bool { return s.note == spool.Note{} }},
		{"the spool fails", probing, event{kind: local}, noon, 0, action{wait: time.Second / 2, show: StateBackingOff},
			func(s state) bool { return !s.suspect.probing() && s.note.Barrier == at(4) }},
		{"nothing to send", barrier, event{kind: vacant, request: empty}, noon, 4, action{}, nil},
		{"nothing to send in a probe", probing, event{kind: vacant, request: behind}, noon, 0, action{},
			func(s state) bool {
				return s.suspect.probing() && s.suspect.given.to == at(3) && s.suspect.given.tally.Sum() == 8
			}},
		{"nothing to probe with", probing, event{kind: nothing}, noon, 0, action{wait: time.Second / 2, show: StateBackingOff},
			func(s state) bool { return !s.suspect.probing() }},
		{"ahead of the clock", barrier, event{kind: ahead, request: early}, noon, 4, action{}, nil},
		{"ahead of a clock that is not set", barrier, event{kind: ahead, request: early}, time.Unix(1e9, 0), 0, action{wait: time.Second, show: StateClock}, nil},
		{"a probe ahead of the clock", probing, event{kind: ahead, request: early}, noon, 0, action{wait: time.Second / 2, show: StateBackingOff},
			func(s state) bool { return !s.suspect.probing() }},
	} {
		got, a := plan(planned(), c.s, c.e, c.now, func() float64 { return 0 })
		if n := a.book[0].tally.Sum(); n != c.booked {
			t.Errorf("%s: %d samples are booked, want %d", c.name, n, c.booked)
		}
		a.book = [2]booking{}
		if a != c.a {
			t.Errorf("%s: %+v, want %+v", c.name, a, c.a)
		}
		if c.check != nil && !c.check(got) {
			t.Errorf("%s: then %+v", c.name, got)
		}
	}
}

// TestPackUnsettled: a pack of scrapes out of a refused 1.0 request, of which a part may
// be stored by now, is taken apart again; 429 and a connection that was not made say that
// none is.
func TestPackUnsettled(t *testing.T) {
	for _, c := range []struct {
		answer answer
		size   int
	}{{answer{sent: true}, 1}, {answer{status: 504}, 1}, {answer{status: 500}, 1}, {answer{status: 429}, 2}, {answer{}, 2}} {
		s := state{aside: aside{until: at(20), row: 4}}
		s.note.Barrier, s.note.Learned.V1 = at(20), true
		e := event{request: request{proto: V1, from: at(5), to: at(7), scrapes: 2, samples: 8}, answer: c.answer, verdict: again, before: at(20)}
		got, _ := plan(planned(), s, e, noon, nil)
		if n := got.aside.size(); n != c.size {
			t.Errorf("after %+v the next one has %d scrapes, want %d", c.answer, n, c.size)
		}
	}
}
