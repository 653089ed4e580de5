// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// machine is a spool together with what is expected of it. A value is the
// sequence number of its scrape times 1000 plus the number of its series, so that
// each sample tells where it belongs.
type machine struct {
	dir    string
	o      Options
	s      *Spool
	series []*series.Series
	time   int64
	// several: scrapes are those of three targets, of which each has a third of the series
	// and stamps them as much too early as late says; numbers are what they go by, others
	// after each restart.
	several bool
	late    []int64
	numbers []uint8
	// sizes[k] is the number of samples of scrape k+1.
	sizes   []int
	eps     []Endpoint
	cursors []*Cursor
	model   map[*Cursor]*expected
	// lossy: something may be lost, because there is a limit.
	lossy bool
	// faults are those of the disk; faulty is true while there is one.
	faults *faults
	faulty bool
	clocks *clocks
	// filled: the disk has been full.
	filled bool
	// synced are the cursor file's bytes when they were last known to be on disk.
	synced []byte
}

// expected is what is known of a cursor.
type expected struct {
	got      map[[2]int]int
	flight   *flight
	crashed  bool
	position series.Position
}

// flight is a batch that was read and waits for its answer.
type flight struct {
	from  series.Position
	to    series.Position
	keys  [][2]int
	tally series.Tally
	begun bool
}

func TestAnyOrderOfEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(shm(), "spool-property-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		m := &machine{dir: dir, time: 1_800_000_000_000, model: map[*Cursor]*expected{}}
		for i := range 3 * ownSeries {
			m.series = append(m.series, testSeries(i))
		}
		m.several = rapid.Bool().Draw(t, "several")
		m.late, m.numbers = []int64{0, 500, 7_000}, []uint8{0, 1, 2}
		if m.lossy = rapid.Bool().Draw(t, "lossy"); m.lossy {
			m.o.MaxBytes = int64(rapid.IntRange(9_000, 30_000).Draw(t, "cap"))
			if rapid.Bool().Draw(t, "aged") {
				m.o.MaxAge = 3 * segmentAge
			}
		}
		m.clocks = newClocks()
		m.o = m.clocks.options(m.o)
		m.faults = newFaults()
		m.o.hook = m.faults.hook
		m.open(t)
		defer func() { crash(noop{}, m.s) }()
		m.claim(t, []Endpoint{{"a", "http://a"}, {"b", "http://b"}})
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) { m.append(t, rapid.IntRange(1, 8).Draw(t, "n")) },
			"burst":  func(t *rapid.T) { m.append(t, 70) },
			"read":   func(t *rapid.T) { m.read(t, m.any(t)) },
			"begin":  func(t *rapid.T) { m.begin(t, m.any(t)) },
			"ack":    func(t *rapid.T) { m.ack(t, m.any(t)) },
			"deliver": func(t *rapid.T) {
				c := m.any(t)
				for range 3 {
					m.read(t, c)
					m.begin(t, c)
					m.ack(t, c)
				}
			},
			"reopen":    func(t *rapid.T) { m.reopen(t, false, false) },
			"crash":     func(t *rapid.T) { m.reopen(t, true, false) },
			"power cut": func(t *rapid.T) { m.reopen(t, true, true) },
			"endpoints": m.endpoints,
			"refused":   m.refused,
			"":          m.check,
		})
		for _, c := range m.cursors {
			c.End()
			m.model[c].flight = nil
			m.drain(t, c)
		}
		m.check(t)
	})
}

// ownSeries are those of each target.
const ownSeries = 40

func shm() string {
	if i, err := os.Stat("/dev/shm"); err == nil && i.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// noop is a testing.TB for helpers that cannot fail here.
type noop struct{ testing.TB }

func (noop) Helper() {}

func (m *machine) open(t *rapid.T) {
	m.o.Series = registry
	s, err := Open(m.dir, m.o)
	if err != nil {
		t.Fatal(err)
	}
	m.s = s
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, dirName(0), name) }

func (m *machine) claim(t *rapid.T, eps []Endpoint) {
	cs, err := m.s.Claim(eps)
	if err != nil {
		t.Fatal(err)
	}
	m.eps, m.cursors = eps, cs
	for _, c := range cs {
		if m.model[c] == nil {
			// One that was there before takes up again where it was.
			m.model[c] = &expected{crashed: c.Appended() > 0, got: map[[2]int]int{}, position: c.Position()}
		}
	}
	m.synced, _ = os.ReadFile(m.path(cursorsName))
}

func (m *machine) any(t *rapid.T) *Cursor {
	return m.cursors[rapid.IntRange(0, len(m.cursors)-1).Draw(t, "cursor")]
}

func (m *machine) append(t *rapid.T, n int) {
	for range n {
		step := int64(15_000)
		switch rapid.IntRange(0, 30).Draw(t, "step") {
		case 0:
			step = -40_000
		case 1:
			step = segmentAge.Milliseconds()
		case 2:
			step = 0
		}
		k := 0
		if m.several {
			k = rapid.IntRange(0, 2).Draw(t, "target")
			if step == 15_000 {
				step = rapid.SampledFrom([]int64{1, 500, 15_000}).Draw(t, "apart")
			}
		}
		m.time += step
		if step < 0 {
			m.clocks.off(time.Duration(step) * time.Millisecond)
		}
		m.clocks.pass(time.Duration(max(step, 0)) * time.Millisecond)
		sc := &series.Scrape{Target: m.numbers[k], Time: m.time - m.late[k]}
		seq := len(m.sizes) + 1
		first, count := rapid.IntRange(0, 3).Draw(t, "first"), rapid.IntRange(0, 30).Draw(t, "count")
		for i := first; i < first+count; i++ {
			if i%7 == 3 && seq%11 == 0 {
				continue
			}
			id := k*ownSeries + i
			sc.Series = append(sc.Series, m.series[id])
			sc.Values = append(sc.Values, float64(seq*1000+id))
			if seq%3 == 0 {
				sc.Starts = append(sc.Starts, sc.Time-int64(id))
			}
		}
		if seq%5 == 0 {
			slices.Reverse(sc.Series)
			slices.Reverse(sc.Values)
			slices.Reverse(sc.Starts)
		}
		p, err := m.s.Append(ctx(), sc)
		if err != nil && !(m.faulty && errors.Is(err, ErrNotDurable)) {
			t.Fatal(err)
		}
		if p.Scrape != uint64(seq) {
			t.Fatalf("scrape %d got position %v", seq, p)
		}
		m.sizes = append(m.sizes, len(sc.Series))
	}
}

func (m *machine) read(t *rapid.T, c *Cursor) {
	e := m.model[c]
	lim := Limits{
		Scrapes: rapid.IntRange(0, 12).Draw(t, "scrapes"),
		Samples: rapid.SampledFrom([]int{0, 1, 13, 100, 1000}).Draw(t, "samples"),
	}
	var b series.Batch
	from := c.Position()
	if err := c.Read(ctx(), &b, from, lim); err != nil {
		t.Fatal(err)
	}
	if b.From != from || b.To.Before(b.From) {
		t.Fatalf("read [%v, %v) from %v", b.From, b.To, from)
	}
	if b.To == b.From {
		if n := c.Backlog().Samples; n != 0 {
			t.Fatalf("nothing to read, but %d samples wait", n)
		}
		return
	}
	if lim.Samples > 0 && b.Samples > lim.Samples || lim.Scrapes > 0 && len(b.Times) > lim.Scrapes {
		t.Fatalf("%d samples of %d scrapes, limits %+v", b.Samples, len(b.Times), lim)
	}
	f := &flight{from: from, to: b.To}
	for i := range b.Rows {
		row := &b.Rows[i]
		for k, smp := range row.Samples {
			seq, id := int(smp.V)/1000, int(smp.V)%1000
			if row.Series.Labels.String() != m.series[id].Labels.String() {
				t.Fatalf("%v has the value of series %d", row.Series.Labels, id)
			}
			if k > 0 && smp.T <= row.Samples[k-1].T {
				t.Fatal("times do not grow within a batch")
			}
			if seq%3 == 0 && smp.Start != smp.T-int64(id) || seq%3 != 0 && smp.Start != 0 {
				t.Fatalf("start %d of a sample at %d", smp.Start, smp.T)
			}
			f.keys = append(f.keys, [2]int{seq, id})
		}
	}
	if len(f.keys) != b.Samples {
		t.Fatalf("%d samples, the batch says %d", len(f.keys), b.Samples)
	}
	if !m.lossy && b.Lost[series.Unreadable] > 0 {
		t.Fatalf("%d samples unreadable", b.Lost[series.Unreadable])
	}
	f.tally.Delivered = uint64(b.Samples)
	f.tally.Lost[series.Unreadable] = b.Lost[series.Unreadable]
	// Another read ends what was under way.
	c.End()
	e.flight = f
}

func (m *machine) begin(t *rapid.T, c *Cursor) {
	e := m.model[c]
	if e.flight == nil {
		return
	}
	err := c.Begin(ctx(), e.flight.from, e.flight.to, Note{Barrier: e.flight.to})
	if m.moved(t, c, err) {
		e.flight = nil
		return
	}
	e.flight.begun = true
}

// moved reports whether the answer to what concerns the cursor's flight is that it was
// evicted, which it may be before it has begun, or by a full disk.
func (m *machine) moved(t *rapid.T, c *Cursor, err error) bool {
	f := m.model[c].flight
	if !errors.Is(err, ErrMoved) {
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	if c.Position() == f.from || !m.lossy && !m.filled || f.begun && !m.filled {
		t.Fatalf("%v, but the cursor stands at %v", err, c.Position())
	}
	return true
}

func (m *machine) ack(t *rapid.T, c *Cursor) {
	e := m.model[c]
	f := e.flight
	if f == nil {
		return
	}
	if rapid.IntRange(0, 9).Draw(t, "fate") == 0 {
		f.tally.Lost[series.Refused] += f.tally.Delivered
		f.tally.Delivered = 0
	}
	e.flight = f
	moved := m.moved(t, c, c.Ack(ctx(), f.from, f.to, f.tally, Note{}))
	e.flight = nil
	c.End()
	if moved {
		return
	}
	for _, k := range f.keys {
		e.got[k]++
		if e.got[k] > 1 && !e.crashed {
			t.Fatalf("sample %v arrives twice without a crash", k)
		}
	}
	if p := c.Position(); p.Before(f.to) {
		t.Fatalf("acknowledged up to %v, stands at %v", f.to, p)
	}
}

func (m *machine) drain(t *rapid.T, c *Cursor) {
	e := m.model[c]
	for range 10_000 {
		m.read(t, c)
		if e.flight == nil {
			return
		}
		m.begin(t, c)
		m.ack(t, c)
	}
	t.Fatal("draining does not end")
}

// refused makes one kind of operation fail for a while, in which scrapes come and go.
func (m *machine) refused(t *rapid.T) {
	op := rapid.SampledFrom([]string{
		opSegmentCreate, opSegmentWrite, opSegmentSync, opDirSync, opSegmentRemove, opSegmentTruncate, opCursorsWrite, opCursorsSync,
	}).Draw(t, "operation")
	m.faulty = true
	why := rapid.SampledFrom([]error{syscall.ENOSPC, syscall.EIO, errShort}).Draw(t, "error")
	m.filled = m.filled || why == syscall.ENOSPC
	m.faults.set(op, why)
	for range rapid.IntRange(1, 4).Draw(t, "times") {
		m.append(t, rapid.IntRange(1, 3).Draw(t, "n"))
		c := m.any(t)
		m.read(t, c)
		m.begin(t, c)
		m.ack(t, c)
	}
	m.faults.set(op, nil)
	m.faulty = false
	m.append(t, 1)
}

// reopen ends the spool, by Close, by kill -9 or by a power cut that takes what was
// not synced, and opens it again.
func (m *machine) reopen(t *rapid.T, kill, power bool) {
	before := map[string]*expected{}
	for i, c := range m.cursors {
		e := m.model[c]
		e.position = c.Position()
		e.crashed = e.crashed || kill || e.flight != nil
		before[m.eps[i].Name] = e
	}
	crashOrClose(t, m.s, kill)
	if m.several {
		m.numbers = rapid.Permutation([]uint8{0, 1, 2, MaxTargets - 1}).Draw(t, "numbers")[:3]
	}
	if power {
		m.cutPower(t)
	}
	m.open(t)
	cs, err := m.s.Claim(m.eps)
	if err != nil {
		t.Fatal(err)
	}
	m.cursors = cs
	m.model = map[*Cursor]*expected{}
	for i, c := range cs {
		e := before[m.eps[i].Name]
		if flight := e.flight; flight != nil && flight.begun && flight.tally.Sum() > 0 && !power && !m.lossy {
			// What was in flight before an earlier crash may reach further.
			if to := c.Note().Barrier; to.Before(flight.to) {
				t.Fatalf("in flight up to %v, after the restart %v", flight.to, to)
			}
		}
		e.flight = nil
		if p := c.Position(); !power && !m.lossy && p != e.position || !m.lossy && e.position.Before(p) {
			t.Fatalf("%s stood at %v, after the restart at %v", m.eps[i].Name, e.position, p)
		}
		m.model[c] = e
	}
	m.synced, _ = os.ReadFile(m.path(cursorsName))
}

func crashOrClose(t *rapid.T, s *Spool, kill bool) {
	if kill {
		crash(noop{}, s)
		return
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// cutPower takes away what was not synced, or part of it: the cursors go back to
// an older state, and a record that was being written leaves some bytes.
func (m *machine) cutPower(t *rapid.T) {
	now, err := os.ReadFile(m.path(cursorsName))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at+slotSize <= len(m.synced); at += slotSize {
		// No segment was removed since, or the cursors would have been synced.
		if rapid.Bool().Draw(t, "slot lost") && m.unsyncedRemoval() {
			copy(now[at:at+slotSize], m.synced[at:at+slotSize])
		}
	}
	if err := os.WriteFile(m.path(cursorsName), now, 0o600); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(m.path("*" + segmentSuffix))
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	f, err := os.OpenFile(names[len(names)-1], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	junk := make([]byte, rapid.IntRange(0, 200).Draw(t, "torn"))
	rnd := rand.New(rand.NewPCG(1, uint64(len(m.sizes))))
	for i := range junk {
		junk[i] = byte(rnd.Uint32())
	}
	if _, err := f.Write(junk); err != nil {
		t.Fatal(err)
	}
}

// pinned reports whether an attempt is under way, which keeps what it has begun with.
func (m *machine) pinned() bool {
	for _, c := range m.cursors {
		if f := m.model[c].flight; f != nil && f.begun {
			return true
		}
	}
	return false
}

// unsyncedRemoval reports whether the cursor file may be taken back to m.synced:
// only if each segment that was there then still is.
func (m *machine) unsyncedRemoval() bool {
	st, err := parseCursors(m.synced)
	if err != nil {
		return false
	}
	names, _ := filepath.Glob(m.path("*" + segmentSuffix))
	slices.Sort(names)
	if len(names) == 0 {
		return false
	}
	first, _ := parseSegmentName(filepath.Base(names[0]))
	for _, c := range st.cursors {
		if c.pos.Scrape < first {
			return false
		}
	}
	return true
}

// endpoints changes the set of endpoints: added, removed, reordered, renamed.
func (m *machine) endpoints(t *rapid.T) {
	for _, c := range m.cursors {
		c.End()
		m.model[c].flight = nil
		m.model[c].crashed = true
	}
	eps := slices.Clone(m.eps)
	switch rapid.SampledFrom([]string{"add", "remove", "reorder", "rename", "move"}).Draw(t, "change") {
	case "add":
		n := fmt.Sprintf("new-%d", len(m.sizes))
		for _, e := range eps {
			if e.Name == n {
				return
			}
		}
		eps = append(eps, Endpoint{n, "http://" + n})
	case "remove":
		if len(eps) > 1 {
			eps = eps[1:]
		}
	case "reorder":
		slices.Reverse(eps)
	case "rename":
		eps[0].Name = strings.TrimSuffix(eps[0].Name, "'") + "'"
		if len(eps) > 1 && eps[1].Name == eps[0].Name {
			return
		}
	case "move":
		eps[0].URL += "/v2"
	}
	for i, e := range eps {
		for _, f := range eps[:i] {
			if f.Name == e.Name {
				return
			}
		}
	}
	old := map[string]*Cursor{}
	for i, c := range m.cursors {
		old[m.eps[i].Name] = c
	}
	m.claim(t, eps)
	for i, e := range eps {
		if c := old[e.Name]; c != nil && c != m.cursors[i] {
			t.Fatalf("%s lost its cursor", e.Name)
		}
	}
}

// check is what holds after each event.
func (m *machine) check(t *rapid.T) {
	for i, c := range m.cursors {
		tally, b := c.Tally(), c.Backlog()
		if got, want := tally.Sum()+b.Samples, c.Appended(); got != want {
			t.Fatalf("%s: delivered %d, lost %v, waiting %d: %d in all, but %d were appended",
				m.eps[i].Name, tally.Delivered, losses(tally), b.Samples, got, want)
		}
		if p := c.Position(); p.Before(m.model[c].position) && !m.model[c].crashed {
			t.Fatalf("%s went back from %v to %v", m.eps[i].Name, m.model[c].position, p)
		}
		m.model[c].position = c.Position()
		for why, n := range tally.Lost {
			if n > 0 && !m.lossy && series.Loss(why) != series.Refused && series.Loss(why) != series.EndpointRemoved {
				t.Fatalf("%s lost %v", m.eps[i].Name, losses(tally))
			}
		}
	}
	if m.o.MaxBytes > 0 && !m.pinned() {
		m.s.log.mu.Lock()
		segs := len(m.s.log.segs)
		m.s.log.mu.Unlock()
		if n := m.s.Usage(); n > m.o.MaxBytes+8<<10 && segs > 1 {
			t.Fatalf("%d bytes in %d segments, the cap is %d", n, segs, m.o.MaxBytes)
		}
	}
}
