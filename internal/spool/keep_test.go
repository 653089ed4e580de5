// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// failing refuses one operation on the files of a name as often as it is told; a
// negative number is for good.
func failing(f *faults, op, suffix string, times int, why error) func(op, path string) error {
	return func(o, path string) error {
		if err := f.hook(o, path); err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if o != op || !strings.HasSuffix(path, suffix) || times == 0 {
			return nil
		}
		times--
		return why
	}
}

// take drains like drain, and bears a tally that has more than the books know of.
func take(t *testing.T, c *Cursor) (got received, unreadable uint64) {
	t.Helper()
	got = received{}
	var b series.Batch
	for range 1000 {
		if err := c.Read(ctx(), &b, c.Position(), Limits{Scrapes: 7}); err != nil {
			continue // the disk refuses; it is asked again
		}
		if b.To == b.From {
			return got, unreadable
		}
		got.add(t, &b)
		unreadable += b.Lost[series.Unreadable]
		tally := series.Tally{Delivered: uint64(b.Samples), Lost: b.Lost}
		_ = begin(c, b.To)
		_ = ack(c, b.To, tally)
	}
	t.Fatal("draining does not end")
	return nil, 0
}

// TestNewestRefusedAtStart: the newest segment cannot be read while the spool is opened.
// It stays as it is, its numbers are not given again, and it is sent when it can be read.
func TestNewestRefusedAtStart(t *testing.T) {
	for name, tt := range map[string]struct {
		op    string
		why   error
		times int
		crash bool
	}{
		"one open":                   {opSegmentOpen, syscall.ENFILE, 1, false},
		"the header and the records": {opSegmentOpen, syscall.EMFILE, 2 * readTries, false},
		"as long as it is opened":    {opSegmentOpen, syscall.ENFILE, 5 * readTries, false},
		"a read":                     {opSegmentRead, syscall.EIO, 1, false},
		"all reads of a start":       {opSegmentRead, syscall.EIO, 3 * readTries, false},
		"after a crash, opening":     {opSegmentOpen, syscall.EIO, 3 * readTries, true},
		"after a crash, reading":     {opSegmentRead, syscall.EIO, 3 * readTries, true},
		"for good":                   {opSegmentOpen, syscall.EIO, -1, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			s := mustOpen(t, dir, Options{})
			mustClaim(t, s, "a")
			g := newTarget(3)
			var all []*series.Scrape
			for range 10 {
				sc := g.next()
				all = append(all, sc)
				mustAppend(t, s, sc)
			}
			if tt.crash {
				crash(t, s)
			} else {
				closeSpool(t, s)
			}
			path := filepath.Join(dir, dirName(0), segmentName(1))
			before := readTree(t, dir)[path]
			kept := func() {
				t.Helper()
				if after := readTree(t, dir)[path]; before == "" || after != before {
					t.Errorf("of %d bytes of the segment there are %d, or others", len(before), len(after))
				}
			}

			s = mustOpen(t, dir, Options{hook: failing(newFaults(), tt.op, filepath.Base(path), tt.times, tt.why)})
			c := mustClaim(t, s, "a")[0]
			kept()
			for range 10 {
				sc := g.next()
				all = append(all, sc)
				mustAppend(t, s, sc)
			}
			kept()
			got, unreadable := take(t, c)
			balanced(t, c)
			if b := c.Backlog(); b != (Backlog{Bytes: b.Bytes}) {
				t.Errorf("%+v waits behind everything", b)
			}
			if tt.times < 0 {
				same(t, got, want(all[10:]...))
				if unreadable != 30 {
					t.Errorf("%d samples are reported unreadable", unreadable)
				}
				mustAppend(t, s, g.next())
				closeSpool(t, s)
				kept()
				return
			}
			same(t, got, want(all...))
			if unreadable != 0 {
				t.Errorf("%d samples are reported unreadable", unreadable)
			}
			closeSpool(t, s)
			s = mustOpen(t, dir, Options{})
			c = mustClaim(t, s, "a")[0]
			if b := c.Backlog(); b.Samples != 0 || b.Scrapes != 0 {
				t.Errorf("after another start %+v waits", b)
			}
			balanced(t, c)
		})
	}
}

// TestRefusedIsKept: what counts as unreadable because the disk refuses to read it is
// acknowledged like the rest, and its file stays; only the cap takes it.
func TestRefusedIsKept(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{})
	mustClaim(t, s, "a")
	g := newTarget(3)
	for range 5 {
		mustAppend(t, s, g.next())
		g.time += segmentAge.Milliseconds()
	}
	closeSpool(t, s)
	bad := segmentName(2)
	// Only the header of it can be read.
	var reads atomic.Int32
	o := Options{MaxBytes: 64 << 10, hook: func(op, path string) error {
		if op == opSegmentRead && filepath.Base(path) == bad && reads.Add(1) > 1 {
			return syscall.EIO
		}
		return nil
	}}
	s = mustOpen(t, dir, o)
	c := mustClaim(t, s, "a")[0]
	if got, n := take(t, c); n != 3 || len(got) != 3 {
		t.Errorf("%d samples are unreadable, %d series arrive", n, len(got))
	}
	balanced(t, c)
	for range 2 {
		mustAppend(t, s, g.next())
		drain(t, c, Limits{})
		waitFor(t, s, func() bool { return len(s.log.trash) == 0 })
		names := segments(t, dir)
		if len(names) < 2 || filepath.Base(names[0]) != bad || len(names) > 3 {
			t.Fatalf("left of five segments: %v", names)
		}
		closeSpool(t, s)
		reads.Store(0)
		s = mustOpen(t, dir, o)
		c = mustClaim(t, s, "a")[0]
	}
	for range 3000 {
		g.time += segmentAge.Milliseconds() / 4
		mustAppend(t, s, g.next())
	}
	waitFor(t, s, func() bool { return len(s.log.trash) == 0 })
	if names := segments(t, dir); filepath.Base(names[0]) == bad {
		t.Error("the cap does not hold for it")
	}
	drain(t, c, Limits{})
	balanced(t, c)
}

// TestExhaustedIsNoDamage: a process or a machine that has no descriptor left says
// nothing of a segment; it is waited for.
func TestExhaustedIsNoDamage(t *testing.T) {
	for _, why := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		dir := memoryDir(t)
		s := mustOpen(t, dir, Options{})
		mustClaim(t, s, "a")
		g := newTarget(3)
		var all []*series.Scrape
		for range 10 {
			sc := g.next()
			all = append(all, sc)
			mustAppend(t, s, sc)
		}
		closeSpool(t, s)
		f := newFaults()
		s = mustOpen(t, dir, Options{hook: f.hook})
		c := mustClaim(t, s, "a")[0]
		f.set(opSegmentOpen, why)
		var b series.Batch
		for range 10 * readTries {
			if err := c.Read(ctx(), &b, c.Position(), Limits{}); !errors.Is(err, why) {
				t.Fatalf("with %v a read says %v", why, err)
			}
		}
		f.set(opSegmentOpen, nil)
		same(t, drain(t, c, Limits{}), want(all...))
		balanced(t, c)
	}
}

// TestNewerVersionKeepsAside: of a directory that is left untouched nothing is removed
// later on, neither what was set aside there nor anything else.
func TestNewerVersionKeepsAside(t *testing.T) {
	dir := memoryDir(t)
	s := mustOpen(t, dir, Options{})
	mustClaim(t, s, "a")
	g := newTarget(50)
	mustAppend(t, s, g.next())
	closeSpool(t, s)
	h := header{first: 7}
	b := h.append(nil)
	makeNewer(b, headerSize)
	old := filepath.Join(dir, dirName(0))
	for name, b := range map[string][]byte{
		segmentName(7):              b,
		segmentName(3) + ".foreign": make([]byte, 60<<10),
	} {
		if err := os.WriteFile(filepath.Join(old, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		long := time.Now().Add(-365 * 24 * time.Hour)
		if err := os.Chtimes(filepath.Join(old, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	before := readTree(t, old)
	log, _ := logtest.NewNullLogger()
	clock := newClocks()
	s = mustOpen(t, dir, clock.options(Options{Log: log, MaxBytes: 64 << 10}))
	c := mustClaim(t, s, "a")[0]
	if n := s.Usage(); n > 32<<10 {
		t.Errorf("%d bytes are counted in an empty spool", n)
	}
	for range 100 {
		clock.pass(time.Hour)
		g.time += segmentAge.Milliseconds()
		mustAppend(t, s, g.next())
	}
	clock.pass(8 * oneDay)
	mustAppend(t, s, g.next())
	balanced(t, c)
	closeSpool(t, s)
	after := readTree(t, old)
	for name, b := range before {
		if after[name] != b {
			t.Errorf("%s was touched", name)
		}
	}
}
