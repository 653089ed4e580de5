// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestOneTargetAsBefore: the engine's records alone are written to the byte as the first
// release wrote them, so that any other can read them.
func TestOneTargetAsBefore(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{})
	mustClaim(t, s, "golden")
	for _, sc := range sequence(t) {
		mustAppend(t, s, sc)
	}
	closeSpool(t, s)
	names := segments(t, goldenDir)
	if len(names) == 0 {
		t.Fatal("there is no spool of the first release")
	}
	for _, name := range names {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, dirName(0), filepath.Base(name)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, or other ones, %v; want the %d of the first release", name, len(got), err, len(want))
		}
	}
}

// several are targets with series of their own, two each.
func several(n int) []*target {
	all := newTarget(2 * n)
	out := make([]*target, n)
	for k := range out {
		out[k] = &target{series: all.series[2*k : 2*k+2], time: all.time, number: uint8(k)}
	}
	return out
}

// TestTargetsAlternate: two targets take turns, the second stamped half a second earlier
// than the first. That is no clock set back.
func TestTargetsAlternate(t *testing.T) {
	for name, fromDisk := range map[string]bool{"from memory": false, "from disk": true} {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			s := mustOpen(t, dir, Options{})
			c := mustClaim(t, s, "a")[0]
			both := several(2)
			both[1].time -= 500
			var all []*series.Scrape
			for range 20 {
				for _, g := range both {
					all = append(all, g.next())
					mustAppend(t, s, all[len(all)-1])
				}
			}
			// What the engine's first scrape begins is not for others.
			if n := len(segments(t, dir)); n != 2 {
				t.Errorf("%d segments, want 2", n)
			}
			if fromDisk {
				closeSpool(t, s)
				s = mustOpen(t, dir, Options{})
				c = mustClaim(t, s, "a")[0]
			}
			var b series.Batch
			if err := c.Read(ctx(), &b, c.Position(), Limits{}); err != nil {
				t.Fatal(err)
			}
			if len(b.Times) != 40 || len(b.Rows) != 4 {
				t.Errorf("a batch of %d scrapes and %d series, want all 40 and 4", len(b.Times), len(b.Rows))
			}
			got := received{}
			got.add(t, &b)
			same(t, got, want(all...))
		})
	}
}

// TestClockMarks: a clock that was set back makes one mark, with the first scrape that is
// not behind the one before of its target; the others go on from there.
func TestClockMarks(t *testing.T) {
	type scrape struct {
		target uint8
		at     int64 // in seconds
	}
	for name, tt := range map[string]struct {
		scrapes []scrape
		// batches are the numbers of scrapes between the marks.
		batches []int
	}{
		"never set back":                         {[]scrape{{1, 100}, {2, 90}, {3, 95}, {1, 101}, {2, 91}, {3, 96}}, []int{6}},
		"seen by all":                            {[]scrape{{1, 100}, {2, 99}, {3, 98}, {1, 50}, {2, 49}, {3, 48}, {1, 51}, {2, 50}, {3, 49}}, []int{3, 6}},
		"the same time":                          {[]scrape{{1, 100}, {2, 100}, {1, 100}, {2, 100}}, []int{2, 2}},
		"twice":                                  {[]scrape{{1, 100}, {2, 99}, {1, 50}, {2, 49}, {2, 20}, {1, 21}}, []int{2, 2, 2}},
		"not seen by one that is scraped rarely": {[]scrape{{1, 100}, {2, 10}, {1, 101}, {2, 60}, {1, 61}, {2, 62}}, []int{4, 2}},
	} {
		for how, restart := range map[string]bool{"": false, ", from disk": true} {
			t.Run(name+how, func(t *testing.T) {
				dir := memoryDir(t)
				s := mustOpen(t, dir, Options{})
				c := mustClaim(t, s, "a")[0]
				all := several(4)
				var at []int64
				for _, x := range tt.scrapes {
					sc := all[x.target].at(x.at * 1000)
					at = append(at, sc.Time)
					mustAppend(t, s, sc)
				}
				if n := len(segments(t, dir)); n != len(tt.batches) {
					t.Errorf("%d segments, want %d", n, len(tt.batches))
				}
				if restart {
					closeSpool(t, s)
					s = mustOpen(t, dir, Options{})
					c = mustClaim(t, s, "a")[0]
				}
				for i, n := range tt.batches {
					var b series.Batch
					if err := c.Read(ctx(), &b, c.Position(), Limits{}); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(b.Times, at[:n]) {
						t.Errorf("batch %d has the times %v, want %v", i, b.Times, at[:n])
					}
					at = at[n:]
					if err := ack(c, b.To, series.Tally{Delivered: uint64(b.Samples)}); err != nil {
						t.Fatal(err)
					}
				}
				balanced(t, c)
			})
		}
	}
}

// TestNumbersOverRestarts: targets that go by other numbers after a restart are the same
// series all the same; the clock that was set back in between is noticed whoever is
// scraped first.
func TestNumbersOverRestarts(t *testing.T) {
	for _, step := range []time.Duration{time.Minute, -time.Minute} {
		for name, numbers := range map[string][]uint8{"swapped": {0, 2, 1}, "one is gone": {0, 1}, "another comes first": {1, 2, 3}, "moved up": {31, 30, 29}} {
			t.Run(name+" "+step.String(), func(t *testing.T) {
				dir := memoryDir(t)
				s := mustOpen(t, dir, Options{})
				mustClaim(t, s, "a")
				all := several(3)
				all[2].time -= 500
				var scs []*series.Scrape
				round := func() {
					for _, g := range all {
						scs = append(scs, g.next())
						mustAppend(t, s, scs[len(scs)-1])
					}
				}
				for range 70 {
					round()
				}
				closeSpool(t, s)
				s = mustOpen(t, dir, Options{})
				mustClaim(t, s, "a")
				slices.Reverse(all)
				all = all[:len(numbers)]
				for i, g := range all {
					g.number = numbers[i]
					g.time += step.Milliseconds()
				}
				for range 70 {
					round()
				}
				crash(t, s)
				s = mustOpen(t, dir, Options{})
				c := mustClaim(t, s, "a")[0]
				var b series.Batch
				if err := c.Read(ctx(), &b, c.Position(), Limits{}); err != nil {
					t.Fatal(err)
				}
				if n := 3 * 70; step < 0 && len(b.Times) != n || step > 0 && len(b.Times) != len(scs) {
					t.Errorf("the first batch has %d scrapes of %d", len(b.Times), len(scs))
				}
				same(t, drain(t, c, Limits{}), want(scs...))
				balanced(t, c)
			})
		}
	}
}

// TestSetBackBeforeRestart: a target that was not scraped since the clock was set back,
// and has another number after a restart, makes the mark then, although the newest segment
// does not have it.
func TestSetBackBeforeRestart(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{MaxBytes: 64 << 10}) // segments of 16 KiB
	mustClaim(t, s, "a")
	all := several(3)
	scs := []*series.Scrape{all[2].at(5_000_000)}
	for at := int64(1_000_000); at < 4_800_000; at += 4_000 {
		scs = append(scs, all[1].at(at))
	}
	for _, sc := range scs {
		mustAppend(t, s, sc)
	}
	if n := len(segments(t, dir)); n != 2 {
		t.Fatalf("%d segments", n)
	}
	closeSpool(t, s)
	s = mustOpen(t, dir, Options{})
	all[2].number = 3
	last := all[2].at(4_900_000)
	mustAppend(t, s, last)
	closeSpool(t, s)
	s = mustOpen(t, dir, Options{})
	c := mustClaim(t, s, "a")[0]
	var b series.Batch
	if err := c.Read(ctx(), &b, c.Position(), Limits{}); err != nil {
		t.Fatal(err)
	}
	if len(b.Times) != len(scs) {
		t.Errorf("a batch of %d scrapes, want the %d in front of the mark", len(b.Times), len(scs))
	}
	same(t, drain(t, c, Limits{}), want(append(scs, last)...))
	balanced(t, c)
}

// TestSegmentVersions: only segments that may hold other records than the engine's are
// for this release alone.
func TestSegmentVersions(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{})
	mustClaim(t, s, "a")
	both := several(2)
	versions := func() (out []uint16) {
		for _, name := range segments(t, dir) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, binary.LittleEndian.Uint16(b[8:]))
		}
		return out
	}
	expect := func(want ...uint16) {
		t.Helper()
		if got := versions(); !slices.Equal(got, want) {
			t.Errorf("segments of versions %v, want %v", got, want)
		}
	}
	mustAppend(t, s, both[0].next())
	expect(1)
	mustAppend(t, s, both[1].next())
	mustAppend(t, s, both[0].next())
	expect(1, 2)
	both[0].time += segmentAge.Milliseconds()
	mustAppend(t, s, both[0].next())
	expect(1, 2, 2)
	closeSpool(t, s)
	s = mustOpen(t, dir, Options{})
	mustAppend(t, s, both[0].next())
	expect(1, 2, 2, 1)
}

// TestFullForEachTarget: each target's first record in a segment is in full, and every
// sixtieth of its own.
func TestFullForEachTarget(t *testing.T) {
	p := makeSpecimen(t, 150, true)
	seen := map[uint8]int{}
	for i, sc := range p.scrapes {
		if full := seen[sc.Target]%fullEvery == 0; full != (p.flags[i]&recFull != 0) {
			t.Errorf("record %d, of target %d the number %d: in full %v", i, sc.Target, seen[sc.Target], !full)
		}
		seen[sc.Target]++
	}
	if seen[0] <= fullEvery || len(seen) != 3 {
		t.Errorf("scrapes of the targets: %v", seen)
	}
}

// TestSeriesOfTwoTargets: a series that goes from one target to another, as the own
// metrics do while the engine rests, keeps its values, also behind damage.
func TestSeriesOfTwoTargets(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{})
	mustClaim(t, s, "a")
	g := newTarget(4)
	var all []*series.Scrape
	for i := range 200 {
		sc := g.next()
		// The last series goes with the second target from 30 to 60 and from 100 on.
		with := i >= 30 && i < 60 || i >= 100
		if sc.Target = 1; i%2 == 0 {
			sc.Target = 2
			sc.Series, sc.Values = sc.Series[:2], sc.Values[:2]
		} else {
			sc.Series, sc.Values = sc.Series[2:3], sc.Values[2:3]
		}
		if with == (sc.Target == 2) {
			sc.Series, sc.Values = append(slices.Clone(sc.Series), g.series[3]), append(slices.Clone(sc.Values), float64(1000+i*i))
		}
		all = append(all, sc)
		mustAppend(t, s, sc)
	}
	closeSpool(t, s)
	path := segments(t, dir)[0]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/3]++
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, Options{})
	c := mustClaim(t, s, "a")[0]
	got, whole := drain(t, c, Limits{}), want(all...)
	n := 0
	for name, samples := range got {
		for at, v := range samples {
			n++
			if whole[name][at] != v {
				t.Errorf("%s at %d is %x, want %x", name, at, v, whole[name][at])
			}
		}
	}
	if lost := c.Tally().Lost[series.Unreadable]; lost == 0 || n < 200 {
		t.Errorf("%d samples are read, %d lost", n, lost)
	}
	balanced(t, c)
}

// TestAppendFromEachTarget: each target has a goroutine of its own.
func TestAppendFromEachTarget(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	c := mustClaim(t, s, "a")[0]
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []*series.Scrape
	for _, g := range several(MaxTargets) {
		wg.Go(func() {
			for range 20 {
				sc := g.next()
				if _, err := s.Append(ctx(), sc); err != nil {
					t.Error(err)
				}
				mu.Lock()
				all = append(all, sc)
				mu.Unlock()
			}
		})
	}
	got := received{}
	for len(got) < 2*MaxTargets {
		<-c.Changed()
		for name, samples := range drain(t, c, Limits{}) {
			if got[name] == nil {
				got[name] = map[int64]uint64{}
			}
			maps.Copy(got[name], samples)
		}
	}
	wg.Wait()
	for name, samples := range drain(t, c, Limits{}) {
		maps.Copy(got[name], samples)
	}
	same(t, got, want(all...))
	balanced(t, c)
	if _, err := s.Append(ctx(), &series.Scrape{Target: MaxTargets, Time: 1}); err == nil || !strings.Contains(err.Error(), "target 32") {
		t.Errorf("target 32: %v", err)
	}
}

// TestTailOfEachTarget: what is on disk stays in memory for a sender that is behind by
// some scrapes of each target, and no more than that where one is scraped rarely.
func TestTailOfEachTarget(t *testing.T) {
	for name, tt := range map[string]struct {
		series, rounds int
		// often is how often the first target is scraped for each time of the others.
		often, most int
	}{
		"small":                         {series: 2, rounds: 30, often: 1, most: 3 * tailScrapes},
		"small, two of them rarely":     {series: 2, rounds: 30, often: 20, most: 3 * tailScrapes},
		"too large":                     {series: tailBytes/16 + 1, rounds: 4, often: 1, most: 3 * 2},
		"too large, two of them rarely": {series: tailBytes/16 + 1, rounds: 2, often: 20, most: 3 * 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, memoryDir(t), Options{RingBytes: 1 << 30, patience: time.Minute})
			c := mustClaim(t, s, "a")[0]
			all := newTarget(tt.series)
			all.series = append(all.series, testSeries(tt.series), testSeries(tt.series+1))
			appended := map[uint8]int{}
			take := func(k uint8) {
				g := &target{series: all.series[:tt.series], time: all.time, number: k}
				if k > 0 {
					g.series = all.series[len(all.series)-int(k):][:1]
				}
				all.time += 1000
				appended[k]++
				mustAppend(t, s, g.next())
			}
			for range tt.rounds {
				for range tt.often {
					take(0)
				}
				take(1)
				take(2)
			}
			waitFor(t, s, func() bool { return len(s.log.ring.entries) <= tt.most })
			kept := map[uint8]int{}
			s.log.mu.Lock()
			for _, e := range s.log.ring.entries {
				kept[e.Target]++
			}
			n := len(s.log.ring.entries)
			s.log.mu.Unlock()
			if each := tt.most / 3; n > tt.most || tt.often == 1 && (kept[0] != each || kept[1] != each || kept[2] != each) || n < tt.most/3 {
				t.Errorf("kept of the targets: %v", kept)
			}
			drain(t, c, Limits{Width: 20_000})
			balanced(t, c)
			if s.log.mu.Lock(); len(s.log.ring.entries) != 1 {
				t.Errorf("%d scrapes that everybody has are kept", len(s.log.ring.entries))
			}
			s.log.mu.Unlock()
		})
	}
}

// TestGoldenOfSeveral: a spool that a release with this version of segments wrote.
func TestGoldenOfSeveral(t *testing.T) {
	const golden = "../../testdata/spool/v2-several"
	all := several(3)
	all[2].time -= 7_000
	var scs []*series.Scrape
	for i := range 130 {
		for k, g := range all {
			if i%(k+1) == 0 {
				scs = append(scs, g.next())
			}
		}
		if i == 100 { // the clock is set back
			for _, g := range all {
				g.time -= 3_600_000
			}
		}
	}
	if *update {
		if err := os.RemoveAll(golden); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, golden, Options{})
		mustClaim(t, s, "a")
		for _, sc := range scs {
			mustAppend(t, s, sc)
		}
		closeSpool(t, s)
	}
	dir := memoryDir(t)
	if err := os.CopyFS(dir, os.DirFS(golden)); err != nil {
		t.Fatal(err)
	}
	r, err := Inspect(dir)
	if err != nil || !r.Healthy() || len(r.Segments) != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	s := mustOpen(t, dir, Options{})
	c := mustClaim(t, s, "a")[0]
	same(t, drain(t, c, Limits{}), want(scs...))
	balanced(t, c)
	if tally := c.Tally(); tally.Sum() != tally.Delivered {
		t.Errorf("lost %v", losses(tally))
	}
}

// TestDamagedMark: where the mark of the clock cannot be read, no request has the samples
// of a target from both sides of it.
func TestDamagedMark(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{})
	mustClaim(t, s, "a")
	all := several(3)
	var scs []*series.Scrape
	for i := range 40 {
		for _, g := range all[1:] {
			if i == 20 {
				g.time -= 120_000
			}
			scs = append(scs, g.next())
			mustAppend(t, s, scs[len(scs)-1])
		}
	}
	closeSpool(t, s)
	names := segments(t, dir)
	if len(names) != 2 {
		t.Fatalf("%d segments", len(names))
	}
	b, err := os.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	b[0]++
	if err := os.WriteFile(names[1], b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, Options{})
	c := mustClaim(t, s, "a")[0]
	same(t, drain(t, c, Limits{}), want(scs...)) // and looks at the order of each batch
	balanced(t, c)
}
