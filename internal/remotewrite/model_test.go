// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
)

// modelSteps is the number of attempts of TestModel, times TEST_LOOPS but 20 at most.
const modelSteps = 100_000

// TestModel drives plan and judge with random answers against a queue and a receiver
// that are no more than arrays, and checks after each attempt that nothing is lost
// without a reason, and for the right one; that order is kept; that the books balance;
// that nothing is at the receiver beyond the cursor and the barrier; and that all that
// waits goes out once the receiver takes it.
func TestModel(t *testing.T) {
	loops := 1
	if n, err := strconv.Atoi(os.Getenv("TEST_LOOPS")); err == nil && n > 0 {
		loops = min(n, 20)
	}
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("MODEL_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("MODEL_SEED=%d", seed)
	for left := loops * modelSteps; left > 0; seed++ {
		m := newModel(t, seed)
		m.run()
		if t.Failed() {
			t.Fatalf("MODEL_SEED=%d: %+v", seed, m.traits)
		}
		left -= m.attempts
	}
}

// traits are what kind of receiver, queue and settings an episode has.
type traits struct {
	Protocol   Protocol
	Hold       bool
	Speaks1    bool // 2.0 is not understood
	Silent     bool // no Written header on a refusal
	Bad        bool // some samples are refused
	Poison     bool // some crash the receiver
	Gateway    bool // which a gateway says with 502
	Damage     bool // some scrapes cannot be read
	Relabelled bool // some samples are dropped by relabelling
	Picky      bool // what it stores is refused for its exemplars
	Whole      bool // it stores all of a request or nothing, over 2.0 as well
	Burst      int  // larger requests are never taken, 0 for no such limit
	Length     int  // scrapes
	Most       int  // samples in a request
	Targets    int  // whose scrapes come in turn, at intervals of their own
	Steps      bool // the clock is set back now and then
}

// sample is what became of a sample of the model.
type sample struct {
	stored, bad, poison, relabelled bool
}

type modelScrape struct {
	damaged bool
	target  int
	time    int    // for its target, the order of the samples
	epoch   int    // how often the clock was set back so far
	count   uint64 // samples before it
	samples []sample
}

type sim struct {
	t      *testing.T
	rnd    *rand.Rand
	traits traits
	o      Options
	now    time.Time

	began    time.Time
	scrapes  []modelScrape // the first has number 1; one more is there every 15 s
	appended uint64
	pos      series.Position
	tally    series.Tally

	state     state
	kept      spool.Note // what a restart finds
	req       *request
	mood      mood
	until     time.Time
	newest    [3][]int // of each target, by ordinal, the time of the newest scrape that is stored
	lost      bool     // an answer was, in front of the barrier
	successor bool     // the scrape behind a suspect was sent
	attempts  int
}

// mood is how the receiver, or what is in front of it, is at a time.
type mood uint8

const (
	good mood = iota
	unreachable
	cutting // the request may be stored, the answer does not come
	crashing
	gateway // 502 to 504, of what may be stored
	tooMany
	elsewhere // 401, 404, a redirect
	later     // 408
	moods
	flaky // another one each time
)

func newModel(t *testing.T, seed uint64) *sim {
	rnd := rand.New(rand.NewPCG(seed, 1))
	some := func(n int) bool { return rnd.IntN(n) == 0 }
	m := &sim{t: t, rnd: rnd, now: time.Unix(1_790_000_000, 0)}
	m.began = m.now
	m.traits = traits{
		Protocol: []Protocol{Auto, V1, V1, V2}[rnd.IntN(4)], Hold: some(2), Speaks1: some(3), Silent: some(4),
		Bad: some(3), Poison: some(3), Gateway: some(2), Damage: some(4), Relabelled: some(4), Picky: some(6), Whole: some(3),
		Length: 1 + rnd.IntN(1000), Most: []int{60, 400, 2000, 5000}[rnd.IntN(4)],
		Targets: 1 + 2*rnd.IntN(2), Steps: some(4),
	}
	for i := range m.newest {
		m.newest[i] = make([]int, 400)
	}
	if some(4) {
		m.traits.Burst = minPiece + rnd.IntN(1000)
	}
	if m.traits.Protocol == V2 {
		m.traits.Speaks1 = false // pinned, all would be refused
	}
	m.o = Options{
		Protocol: m.traits.Protocol, HoldOnAuthError: m.traits.Hold, MaxSamples: m.traits.Most, MaxBytes: 1 << 20,
		MinBackoff: 500 * time.Millisecond, MaxBackoff: time.Minute,
	}
	var widths [3]int
	for i := range widths {
		widths[i] = []int{1, 10, 64, 65, 130, 400}[rnd.IntN(6)]
	}
	clock, epoch := 0, 0
	first := rnd.IntN(m.traits.Length)
	for k := range m.traits.Length {
		s := modelScrape{count: m.appended, damaged: m.traits.Damage && some(15)}
		if m.traits.Targets > 1 {
			s.target = []int{0, 1, 0, 0, 2, 1}[k%6]
		}
		if clock += 10; m.traits.Steps && some(100) {
			clock -= 10*rnd.IntN(100) + 13 // no time comes twice
			epoch++
		}
		s.time, s.epoch = clock, epoch
		width := widths[s.target]
		s.samples = make([]sample, width-rnd.IntN(width)/8)
		bad, poison := m.traits.Bad && some(8), m.traits.Poison && (k == first || k == first+200) && k+1 < m.traits.Length
		whole := some(3) // of it
		for i := range s.samples {
			s.samples[i] = sample{bad: bad && (whole || some(20)), poison: poison && (whole || i == len(s.samples)/3), relabelled: m.traits.Relabelled && (some(10) || len(s.samples)%7 == 0)}
		}
		if k+1 == m.traits.Length { // with it a suspect can be told from an outage
			s = modelScrape{count: m.appended, target: s.target, time: s.time, epoch: s.epoch, samples: make([]sample, len(s.samples))}
		}
		m.scrapes = append(m.scrapes, s)
		m.appended += uint64(len(s.samples))
	}
	m.pos = series.Position{Scrape: 1}
	m.state = begin(spool.Note{}, m.pos)
	return m
}

// run is one episode: weather for a while, then a receiver that takes what it can.
func (m *sim) run() {
	for range m.rnd.IntN(4000) {
		if m.done() || m.t.Failed() {
			return
		}
		m.weather()
		m.step()
	}
	for m.state.suspect.probing() {
		m.step()
	}
	m.mood = good
	began := m.now
	for n := 0; !m.done() && !m.t.Failed(); n++ {
		if n > 20_000 || m.now.Sub(began) > 60*24*time.Hour {
			m.t.Errorf("stuck at %v, %d attempts and %s after the receiver is well: %+v", m.pos, n, m.now.Sub(began), m.state)
			return
		}
		m.step()
	}
}

// visible is the number of scrapes that were taken by now.
func (m *sim) visible() int {
	return min(1+int(m.now.Sub(m.began)/(15*time.Second)), len(m.scrapes))
}

func (m *sim) done() bool { return m.pos.Scrape > uint64(len(m.scrapes)) }

// weather changes the mood, but not between a suspect and its probe; and it ends the
// sender, or moves the cursor, now and then.
func (m *sim) weather() {
	if m.state.suspect.probing() {
		return
	}
	if m.now.After(m.until) {
		m.mood = mood(m.rnd.IntN(int(moods)))
		if m.rnd.IntN(2) == 0 {
			m.mood = flaky
		}
		m.until = m.now.Add(time.Duration(m.rnd.ExpFloat64() * float64([]time.Duration{time.Second, time.Second, 10 * time.Second, 10 * time.Second, time.Minute, time.Minute, 10 * time.Minute, 4 * time.Hour}[m.rnd.IntN(8)])))
	}
	switch m.rnd.IntN(150) {
	case 0:
		m.restart()
	case 1:
		to := m.after(m.pos, 1)
		m.book(to, series.Tally{Lost: [series.Losses]uint64{series.EvictedSize: to.Count - m.pos.Count}}, m.state.note)
		m.plan(event{kind: moved, pos: m.pos})
	case 2:
		m.plan(event{kind: local})
	}
}

func (m *sim) restart() {
	m.state, m.req = begin(m.kept, m.pos), nil
	m.lost = m.lost || m.pos.Before(m.kept.Barrier)
}

// after is the beginning of the scrape that many behind a position.
func (m *sim) after(p series.Position, n int) series.Position {
	i := min(int(p.Scrape)+n, len(m.scrapes)+1)
	return series.Position{Scrape: uint64(i), Count: m.countAt(i)}
}

func (m *sim) countAt(number int) uint64 {
	if number > len(m.scrapes) {
		return m.appended
	}
	return m.scrapes[number-1].count
}

// each calls f with the samples between two positions.
func (m *sim) each(from, to series.Position, f func(scrape, ordinal int, s *sample)) {
	for k := int(from.Scrape); k <= len(m.scrapes) && k <= int(to.Scrape); k++ {
		all := m.scrapes[k-1].samples
		first, end := 0, len(all)
		if k == int(from.Scrape) {
			first = int(from.Ordinal)
		}
		if k == int(to.Scrape) {
			end = int(to.Ordinal)
		}
		for i := first; i < end; i++ {
			f(k, i, &all[i])
		}
	}
}

// holds reports whether there is anything to send between two positions.
func (m *sim) holds(from, to series.Position) (any bool) {
	m.each(from, to, func(k, _ int, s *sample) { any = any || !s.relabelled && !m.scrapes[k-1].damaged })
	return any
}

// book moves the cursor.
func (m *sim) book(to series.Position, t series.Tally, n spool.Note) {
	if got, want := t.Sum(), to.Count-m.pos.Count; got != want || to.Before(m.pos) {
		m.t.Errorf("from %v to %v %d samples are booked, there are %d", m.pos, to, got, want)
	}
	m.tally.Add(t)
	m.pos, m.kept = to, n
	if m.tally.Sum() != m.pos.Count {
		m.t.Errorf("at %v %+v are booked", m.pos, m.tally)
	}
}

// read is what the spool's Read does, and what becomes a request of it.
func (m *sim) read(from series.Position, lim spool.Limits, p Protocol) *request {
	r := &request{proto: p, from: from, to: from}
	taken, epoch := 0, 0
	for k := int(from.Scrape); k <= m.visible(); k++ {
		s := &m.scrapes[k-1]
		if s.damaged {
			r.dropped.Lost[series.Unreadable] += uint64(len(s.samples)) - uint64(r.to.Ordinal)
			r.to = m.after(series.Position{Scrape: uint64(k)}, 1)
			continue
		}
		if r.scrapes > 0 && s.epoch != epoch {
			break
		}
		epoch = s.epoch
		if r.scrapes > 0 && (lim.Scrapes > 0 && r.scrapes >= lim.Scrapes || taken >= lim.Samples) {
			break
		}
		r.scrapes++
		first := int(r.to.Ordinal)
		end := min(len(s.samples), first+lim.Samples-taken)
		for i := first; i < end; i++ {
			if s.samples[i].relabelled {
				r.dropped.Lost[series.Relabelled]++
			} else {
				r.samples++
			}
		}
		taken += end - first
		if end < len(s.samples) {
			r.to = series.Position{Scrape: uint64(k), Ordinal: uint32(end), Count: s.count + uint64(end)}
			break
		}
		r.to = m.after(series.Position{Scrape: uint64(k)}, 1)
	}
	if m.traits.Picky && !m.state.turn.bare() {
		r.exemplars = 1
	}
	r.raw = 200 + 40*r.samples
	return r
}

// build is what Sender.build does.
func (m *sim) build() *request {
	p := m.state.protocol(&m.o, m.now)
	from, lim := m.state.limits(&m.o, m.pos, p, 45, m.now)
	for {
		r := m.read(from, lim, p)
		switch {
		case r.to == r.from:
			m.plan(event{kind: nothing})
			return nil
		case m.state.spans(from, r.to, r.scrapes, r.samples+int(r.dropped.Lost[series.Relabelled]), &lim):
			continue
		case r.samples == 0:
			m.plan(event{kind: vacant, request: *r})
			return nil
		}
		return r
	}
}

// step is what Sender.step does.
func (m *sim) step() {
	if m.pos.Scrape > uint64(m.visible()) {
		m.now = m.now.Add(15 * time.Second)
		return
	}
	if m.req == nil {
		if m.req = m.build(); m.req == nil {
			return
		}
	}
	m.attempts++
	r := m.req
	e := event{request: *r, before: m.state.note.Barrier}
	if e.before.Before(r.to) && r.from.Before(e.before) && m.holds(r.from, e.before) && m.holds(e.before, r.to) {
		m.t.Errorf("%v to %v spans the barrier, %v", r.from, r.to, e.before)
	}
	m.state = m.state.leaving(r.to, m.now)
	m.kept = m.state.note
	if m.state.suspect.probing() && r.from.Ordinal == 0 {
		m.successor = true
	}
	refusable := false
	e.answer, refusable = m.answer(r)
	if m.rnd.IntN(300) == 0 && !m.state.suspect.probing() {
		m.restart() // killed before the answer
		m.truth()
		return
	}
	e.more = r.to.Scrape <= uint64(m.visible())
	e.verdict = judge(m.state.question(&m.o, &e), e.answer.status, e.answer.written.any)
	m.now = m.now.Add(time.Duration(m.rnd.IntN(int(time.Second))))
	m.lost = m.lost || e.answer.lost()
	m.judged(&e, refusable)
	m.plan(e)
	m.truth()
}

// plan does what plan says.
func (m *sim) plan(e event) {
	var a action
	before := m.state
	m.state, a = plan(&m.o, m.state, e, m.now, m.rnd.Float64)
	if !a.repeat {
		m.req = nil
	}
	for i, b := range a.book {
		if b.to.Scrape == 0 {
			break
		}
		note := m.state.note
		if i == 0 && a.book[1].to.Scrape != 0 {
			note = before.note
		}
		if n := b.tally.Lost[series.Poison]; n > 0 {
			found := false
			m.each(m.pos, b.to, func(_, _ int, s *sample) { found = found || s.poison })
			if !found {
				m.t.Errorf("%v to %v is dropped as poison, none of it is: %+v", m.pos, b.to, before.suspect)
			}
		}
		m.book(b.to, b.tally, note)
	}
	if !m.pos.Before(m.state.note.Barrier) {
		m.lost = false
	}
	if a.wait < 0 || a.wait > 6*time.Minute {
		m.t.Errorf("waits %s", a.wait)
	}
	m.now = m.now.Add(a.wait)
}

// truth checks what the note says.
func (m *sim) truth() {
	end := m.state.note.Barrier
	if end.Before(m.pos) {
		end = m.pos
	}
	m.each(end, m.after(end, 3), func(k, i int, s *sample) {
		if s.stored {
			m.t.Errorf("sample %d of scrape %d is at the receiver, the cursor stands at %v and the barrier at %v", i, k, m.pos, m.state.note.Barrier)
		}
	})
	if m.state.note.AnswerLost != (m.lost && m.pos.Before(m.state.note.Barrier)) {
		m.t.Errorf("answer lost: %v, the note at %v says %+v", m.lost, m.pos, m.state.note)
	}
}

// judged checks what a verdict gives up or takes as delivered.
func (m *sim) judged(e *event, refusable bool) {
	r := &e.request
	switch e.verdict {
	case delivered:
		m.each(r.from, r.to, func(k, i int, s *sample) {
			if !s.stored && !s.relabelled && !m.scrapes[k-1].damaged {
				m.t.Errorf("sample %d of scrape %d counts as delivered", i, k)
			}
		})
	case counted, refused:
		if refusable || e.answer.status == 415 || m.state.suspect.probing() {
			return
		}
		m.each(r.from, r.to, func(k, i int, s *sample) {
			if !s.stored && !s.relabelled && !m.scrapes[k-1].damaged && !m.successor {
				m.t.Errorf("sample %d of scrape %d is given up with %d scrapes in %s, %v to %v, that are refused for others", i, k, r.scrapes, r.proto, r.from, r.to)
			}
		})
	}
}

// answer is what the receiver says, and whether something in the request may be refused
// for what it is.
func (m *sim) answer(r *request) (a answer, refusable bool) {
	const half = 2
	stores := m.rnd.IntN(half) == 0
	now := m.mood
	if now == flaky {
		now = []mood{good, good, cutting, gateway, gateway, tooMany, later}[m.rnd.IntN(7)]
		if m.state.suspect.probing() {
			now = crashing // an outage that ends right behind the suspect would make it poison
		}
	}
	switch now {
	case unreachable:
		return answer{}, false
	case cutting:
		if stores {
			m.take(r)
		}
		return answer{sent: true}, false
	case crashing:
		return answer{status: 500}, false
	case gateway:
		if stores {
			m.take(r)
		}
		a.status = 502 + m.rnd.IntN(3)
		if m.rnd.IntN(4) == 0 {
			a.retry = time.Duration(m.rnd.IntN(300)) * time.Second
		}
		return a, false
	case tooMany:
		return answer{status: 429, retry: time.Duration(max(0, m.rnd.IntN(60)-30)) * time.Second}, false
	case elsewhere:
		return answer{status: []int{401, 404, 302}[m.rnd.IntN(3)]}, false
	case later:
		return answer{status: 408}, false
	}
	if n := m.traits.Burst; n > 0 && r.samples > n {
		return answer{status: []int{429, 504, 413}[n%3], sent: true}, false
	}
	return m.take(r)
}

// take is an honest receiver's answer. Over 1.0 it stores nothing of a request with
// anything bad, or older than what it has, in it; over 2.0 it stores the rest, or nothing
// either.
func (m *sim) take(r *request) (a answer, refusable bool) {
	if r.proto == V2 && m.traits.Speaks1 {
		return answer{status: []int{415, 204}[m.rnd.IntN(2)]}, false
	}
	no, crash := 0, false
	m.each(r.from, r.to, func(k, i int, s *sample) {
		if m.scrapes[k-1].damaged || s.relabelled {
			return
		}
		crash = crash || s.poison
		// What was set back is older than what is there, and refused for what it is.
		old := m.scrapes[k-1].time < m.newest[m.scrapes[k-1].target][i]
		refusable = refusable || s.bad || old && m.traits.Steps
		if s.bad || old {
			no++
		}
	})
	if crash {
		if m.traits.Gateway {
			return answer{status: 502}, false
		}
		return answer{status: 500}, false
	}
	whole := r.proto == V1 || m.traits.Whole
	if no == 0 || !whole {
		m.each(r.from, r.to, func(k, i int, s *sample) {
			newest := &m.newest[m.scrapes[k-1].target][i]
			if m.scrapes[k-1].damaged || s.relabelled || s.bad || m.scrapes[k-1].time < *newest {
				return
			}
			s.stored, *newest = true, m.scrapes[k-1].time
		})
	}
	a = answer{status: 204, written: written{r.proto == V2, r.samples - no}}
	if no > 0 || r.exemplars > 0 {
		a.status = 400
		if m.traits.Silent {
			a.written = written{}
		}
	}
	if r.exemplars > 0 || no > 0 && whole {
		a.written.samples = 0
	}
	return a, refusable
}
