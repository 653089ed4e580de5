// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestSuspicion: when a piece that gets 5xx is probed. Each letter is an answer to the
// piece, a minute apart unless a number says otherwise: 5 for 500, g for 502, o for 429,
// n for no connection, t for an answer lost, w for a 500 to a request that can be narrowed.
func TestSuspicion(t *testing.T) {
	type step struct {
		after time.Duration
		kind  byte
	}
	minutes := func(kinds string) (out []step) {
		for _, k := range []byte(kinds) {
			out = append(out, step{time.Minute, k})
		}
		return out
	}
	after := func(d time.Duration, kind byte) []step { return []step{{d, kind}} }
	for _, c := range []struct {
		name  string
		steps [][]step
		probe bool
	}{
		{"two, an hour apart", [][]step{minutes("5"), after(time.Hour, '5')}, false},
		{"three, an hour", [][]step{minutes("5"), after(time.Hour, '5'), minutes("5")}, true},
		{"three, not an hour", [][]step{minutes("5"), after(50*time.Minute, '5'), minutes("5")}, false},
		{"three, not two minutes", [][]step{minutes("w"), after(2*time.Hour, '5'), after(time.Second, '5'), after(time.Second, '5')}, false},
		{"four, two minutes", [][]step{minutes("w"), after(2*time.Hour, '5'), after(time.Second, '5'), after(time.Second, '5'), after(2*time.Minute, '5')}, true},
		{"of a gateway, an hour", [][]step{minutes("g"), after(time.Hour, 'g'), minutes("ggg")}, false},
		{"of a gateway, six hours", [][]step{minutes("g"), after(6*time.Hour, 'g'), minutes("g")}, true},
		{"one of a gateway, an hour", [][]step{minutes("w"), after(2*time.Hour, '5'), minutes("g5")}, false},
		{"one of a gateway before the row", [][]step{minutes("g"), after(2*time.Hour, 'o'), minutes("555")}, true},
		{"a 429 in between", [][]step{minutes("5"), after(2*time.Hour, '5'), minutes("o55")}, false},
		{"and three behind it", [][]step{minutes("5"), after(2*time.Hour, '5'), minutes("o555")}, true},
		{"no connection in between", [][]step{minutes("5"), after(2*time.Hour, '5'), minutes("n55")}, false},
		{"an answer lost in between", [][]step{minutes("5"), after(2*time.Hour, '5'), minutes("t55")}, false},
		{"never narrowed", [][]step{minutes("w"), after(7*time.Hour, 'w'), minutes("wwww")}, false},
	} {
		piece := request{proto: V2, from: at(1), to: series.Position{Scrape: 1, Ordinal: 64, Count: 64}, scrapes: 1, samples: 64}
		large := request{proto: V2, from: at(1), to: series.Position{Scrape: 1, Ordinal: 65, Count: 65}, scrapes: 1, samples: 65}
		s := state{}
		s.note.Learned.V2 = true
		now, probed := noon, false
		for _, steps := range c.steps {
			for _, st := range steps {
				if probed {
					t.Errorf("%s: a probe before the last answer", c.name)
				}
				now = now.Add(st.after)
				e := event{verdict: again, request: piece, before: at(1)}
				switch st.kind {
				case '5':
					e.answer = answer{status: 500, retry: time.Hour} // exempts nobody
				case 'g':
					e.answer = answer{status: 502}
				case 'o':
					e.answer = answer{status: 429}
				case 't':
					e.answer = answer{sent: true}
				case 'w':
					e.answer, e.request = answer{status: 500}, large
				}
				var a action
				s, a = plan(planned(), s, e, now, nil)
				if probed = s.suspect.probing(); probed && (a.wait != 0 || a.repeat) {
					t.Errorf("%s: the probe is not sent at once: %+v", c.name, a)
				}
			}
		}
		if probed != c.probe {
			t.Errorf("%s: probed %v, want %v: %+v", c.name, probed, c.probe, s.suspect)
		}
	}
}

// TestProbe: what is sent behind a suspect, and what its answer means.
func TestProbe(t *testing.T) {
	within := func(scrape uint64, ordinal uint32) series.Position {
		return series.Position{Scrape: scrape, Ordinal: ordinal, Count: 200*(scrape-1) + uint64(ordinal)}
	}
	begin := func(to series.Position) state {
		s := state{refusals: 1}
		s.note.Learned.V2, s.note.Barrier = true, within(4, 0)
		s.suspect = suspect{since: noon.Add(-time.Hour), stage: probe, given: giveUp(&request{to: to, samples: 64})}
		return s
	}
	poison := func(t series.Tally) uint64 { return t.Lost[series.Poison] }
	for _, c := range []struct {
		name    string
		end     series.Position // of the suspect
		answer  answer
		booked  uint64          // as poison
		next    series.Position // where the next probe begins
		settled bool            // the probe is booked as well
	}{
		{"taken", within(1, 64), answer{status: 204, written: written{true, 64}}, 64, series.Position{}, true},
		{"counted", within(1, 64), answer{status: 400, written: written{true, 3}}, 64, series.Position{}, true},
		{"refused for itself", within(1, 64), answer{status: 409}, 64, series.Position{}, true},
		{"refused by something else", within(1, 64), answer{status: 410}, 0, within(1, 64), false},
		{"the endpoint refuses", within(1, 64), answer{status: 404}, 0, within(1, 64), false},
		{"5xx as well", within(1, 64), answer{status: 503}, 0, within(1, 128), false},
		{"429", within(1, 64), answer{status: 429}, 0, within(1, 64), false},
		{"lost", within(1, 64), answer{sent: true}, 0, within(1, 64), false},
		{"too large", within(1, 64), answer{status: 413}, 0, within(1, 64), false},
		{"the successor is taken", within(2, 0), answer{status: 204, written: written{true, 64}}, 64, series.Position{}, true},
		{"the successor gets 5xx", within(2, 0), answer{status: 500}, 0, within(2, 0), false},
	} {
		s := begin(c.end)
		from, lim := s.limits(planned(), within(1, 0), V2, 0, noon)
		if from != c.end || lim.Scrapes != 1 || lim.Samples != minPiece {
			t.Errorf("%s: the probe begins at %v with %+v, want %v and %d samples of a scrape", c.name, from, lim, c.end, minPiece)
		}
		r := request{proto: V2, from: from, to: within(from.Scrape, from.Ordinal+64), scrapes: 1, samples: 64}
		e := event{request: r, answer: c.answer, before: s.note.Barrier}
		e.verdict = judge(s.question(planned(), &e), c.answer.status, c.answer.written.any)
		got, a := plan(planned(), s, e, noon, nil)
		if n := poison(a.book[0].tally); n != c.booked || c.settled != (a.book[1].to == r.to) {
			t.Errorf("%s: books %+v", c.name, a.book)
		}
		if got.suspect.probing() || !c.settled && got.suspect.given.to != c.next || c.settled && got.suspect != (suspect{}) {
			t.Errorf("%s: then %+v", c.name, got.suspect)
		}
		if !c.settled && (a.wait == 0 || a.repeat) {
			t.Errorf("%s: the suspect is next, but %+v", c.name, a)
		}
	}
}

// TestPoisonPiece: one series that crashes the receiver costs the piece of one scrape
// that it is in, after an hour, or six where a gateway speaks for the receiver; all else
// arrives, and in order.
func TestPoisonPiece(t *testing.T) {
	for _, c := range []struct {
		status int
		after  time.Duration
	}{{500, time.Hour}, {502, 6 * time.Hour}} {
		at2026(t, func(t *testing.T) {
			var bad point
			v := newVirtual(func(n int, g *got) reply {
				for _, p := range g.Points {
					if p.T == bad.T && p.Series == bad.Series {
						return reply{Status: c.status}
					}
				}
				return ok(g)
			})
			q := newQueue(t, 300)
			q.fill(t, 30)
			bad = q.served[len(q.served)-100]
			q.fill(t, 30)
			_, stop := start(t, usual(t), q, v)
			defer stop()
			began := time.Now()
			q.drained(t, 10*time.Hour)
			if took := time.Since(began); took < c.after || took > c.after+15*time.Minute {
				t.Errorf("%d: it took %s, want %s and a little", c.status, took, c.after)
			}
			lost := q.c.Tally().Lost[series.Poison]
			if lost == 0 || lost > minPiece {
				t.Errorf("%d: %d samples counted as poison, want at most a piece of %d", c.status, lost, minPiece)
			}
			missing := uint64(0)
			q.complete(t, &v.receiver, func(p point) bool {
				gone := p.T == bad.T && v.stored[p] == 0
				if gone {
					missing++
				}
				return gone
			})
			if missing != lost {
				t.Errorf("%d: %d samples are missing, %d are counted", c.status, missing, lost)
			}
			q.balanced(t)
		})
	}
}

// TestOutageEndsBetween: an outage of an hour, or of six behind a gateway, that ends
// right behind a failed attempt costs nothing: two 5xx an hour apart prove nothing.
func TestOutageEndsBetween(t *testing.T) {
	for _, status := range []int{500, 502} {
		for fails := 1; fails <= 6; fails++ {
			at2026(t, func(t *testing.T) {
				v := newVirtual(func(n int, g *got) reply {
					if n < fails {
						return reply{Status: status}
					}
					return ok(g)
				})
				q := newQueue(t, 1)
				q.fill(t, 3)
				o := usual(t)
				o.Protocol = V2
				s, err := New(o, q.c)
				if err != nil {
					t.Fatal(err)
				}
				s.client.rt = v
				for n := range fails {
					if n > 0 {
						time.Sleep(7 * time.Hour / time.Duration(fails))
					}
					s.step(t.Context())
					if n < 2 && s.state.suspect.probing() {
						t.Errorf("%d: a probe after %d failures", status, n+1)
					}
				}
				if fails < 3 {
					drainAll(t, s, q, 5)
					q.complete(t, &v.receiver, nil)
					q.balanced(t)
				}
			})
		}
	}
}
