// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// TestClaim: by name, by URL, the one that is left; any other begins at the newest.
func TestClaim(t *testing.T) {
	e := func(name, url string) Endpoint { return Endpoint{Name: name, URL: "https://" + url + "/push"} }
	old := []Endpoint{e("a", "a.example"), e("b", "b.example")}
	for name, c := range map[string]struct {
		eps []Endpoint
		// got names the old endpoint whose backlog each one gets.
		got string
	}{
		"unchanged":                      {[]Endpoint{e("a", "a.example"), e("b", "b.example")}, "ab"},
		"other order":                    {[]Endpoint{e("b", "b.example"), e("a", "a.example")}, "ba"},
		"one moved":                      {[]Endpoint{e("a", "new.example"), e("b", "b.example")}, "ab"},
		"one renamed":                    {[]Endpoint{e("x", "b.example"), e("a", "a.example")}, "ba"},
		"one renamed and moved":          {[]Endpoint{e("b", "b.example"), e("x", "new.example")}, "ba"},
		"names swapped":                  {[]Endpoint{e("a", "b.example"), e("b", "a.example")}, "ab"},
		"one more":                       {[]Endpoint{e("a", "a.example"), e("x", "x.example"), e("b", "b.example")}, "a-b"},
		"one less":                       {[]Endpoint{e("b", "b.example")}, "b"},
		"both renamed and moved":         {[]Endpoint{e("x", "x.example"), e("y", "y.example")}, "--"},
		"one instead of two, unknown":    {[]Endpoint{e("x", "x.example")}, "-"},
		"both renamed, their URLs known": {[]Endpoint{e("x", "b.example"), e("y", "a.example")}, "ba"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			s := mustOpen(t, dir, Options{})
			cs, err := s.Claim(old)
			if err != nil {
				t.Fatal(err)
			}
			g := newTarget(1)
			for range 10 {
				mustAppend(t, s, g.next())
			}
			for i, n := range []int{3, 6} {
				if err := ack(cs[i], series.Position{Scrape: uint64(n + 1), Count: uint64(n)}, series.Tally{Delivered: uint64(n)}); err != nil {
					t.Fatal(err)
				}
			}
			check := func(cs []*Cursor) {
				t.Helper()
				for i, c2 := range cs {
					want := map[byte]series.Position{'a': {Scrape: 4, Count: 3}, 'b': {Scrape: 7, Count: 6}, '-': {Scrape: 11, Count: 10}}[c.got[i]]
					if p := c2.Position(); p != want {
						t.Errorf("%s is at %v, want %v", c.eps[i].Name, p, want)
					}
					if c2.Name() != c.eps[i].Name {
						t.Errorf("%s is named %s", c.eps[i].Name, c2.Name())
					}
				}
				balanced(t, cs...)
			}
			for _, again := range []bool{false, true} {
				closeSpool(t, s)
				s = mustOpen(t, dir, Options{})
				if again {
					// A second start finds what the first one stored.
					for i := range c.eps {
						c.eps[i].URL += "/again"
					}
				}
				if cs, err = s.Claim(c.eps); err != nil {
					t.Fatal(err)
				}
				check(cs)
			}
		})
	}
}

func TestClaimAgainKeepsIdentity(t *testing.T) {
	s := mustOpen(t, memoryDir(t), Options{})
	a := mustClaim(t, s, "a", "b")
	b := mustClaim(t, s, "c", "b", "a")
	if b[1] != a[1] || b[2] != a[0] {
		t.Error("a cursor changed its identity")
	}
	if _, err := s.Claim([]Endpoint{{Name: "x"}, {Name: "x"}}); err == nil {
		t.Error("two endpoints of one name are accepted")
	}
}

// TestUnclaimedIsRemoved: a cursor that nobody claims pins nothing, and is counted as
// removed after seven days.
func TestUnclaimedIsRemoved(t *testing.T) {
	dir := memoryDir(t)
	clock := newClocks()
	o := clock.options(Options{})
	s := mustOpen(t, dir, o)
	mustClaim(t, s, "a", "b")
	g := newTarget(2)
	for range 10 {
		mustAppend(t, s, g.next())
	}
	a := mustClaim(t, s, "a")[0]
	drain(t, a, Limits{})
	g.time += segmentAge.Milliseconds()
	mustAppend(t, s, g.next())
	drain(t, a, Limits{})
	waitFor(t, s, func() bool { return len(s.log.segs) == 1 && len(s.log.trash) == 0 })

	clock.pass(6 * oneDay)
	cs := mustClaim(t, s, "a", "b")
	drain(t, cs[1], Limits{})
	balanced(t, cs...)
	if tally := cs[1].Tally(); tally.Lost[series.EndpointRemoved] != 20 || tally.Delivered != 2 {
		t.Errorf("delivered %d, lost %v", tally.Delivered, losses(tally))
	}

	mustClaim(t, s, "a")
	mustAppend(t, s, g.next())
	closeSpool(t, s)
	s = mustOpen(t, dir, o)
	mustClaim(t, s, "a")
	clock.pass(8 * oneDay)
	c := mustClaim(t, s, "a", "b")[1]
	if n := s.Removed().Lost[series.EndpointRemoved]; n != 2 {
		t.Errorf("%d samples are counted as removed, want 2", n)
	}
	if c.Appended() != 0 {
		t.Errorf("a new endpoint has %d samples behind it", c.Appended())
	}
	closeSpool(t, s)
	s = mustOpen(t, dir, o)
	if n := s.Removed().Lost[series.EndpointRemoved]; n != 2 {
		t.Errorf("%d samples are counted as removed after a restart, want 2", n)
	}
}

// makeNewer makes a header or a slot, which ends there, a later release's.
func makeNewer(b []byte, end int) {
	binary.LittleEndian.PutUint16(b[map[bool]int{true: 4, false: 8}[end == slotSize]:], severalVersion+1)
	binary.LittleEndian.PutUint32(b[end-4:], crc32.Checksum(b[:end-4], castagnoli))
}

// TestNewerVersion: what a later release wrote is left as it is, and named.
func TestNewerVersion(t *testing.T) {
	for name, change := range map[string]func(dir string) (path string, b []byte){
		"a segment": func(dir string) (string, []byte) {
			path := filepath.Join(dir, dirName(0), segmentName(1))
			b, _ := os.ReadFile(path)
			makeNewer(b, headerSize)
			return path, b
		},
		"the cursors": func(dir string) (string, []byte) {
			path := filepath.Join(dir, dirName(0), cursorsName)
			b, _ := os.ReadFile(path)
			makeNewer(b, slotSize)
			return path, b
		},
		"a directory": func(dir string) (string, []byte) {
			path := filepath.Join(dir, "spool-v2", "segment")
			_ = os.Mkdir(filepath.Dir(path), 0o700)
			return path, []byte("of another kind")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			s := mustOpen(t, dir, Options{})
			mustClaim(t, s, "a")
			g := newTarget(2)
			mustAppend(t, s, g.next())
			closeSpool(t, s)
			path, b := change(dir)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				log, hook := logtest.NewNullLogger()
				s = mustOpen(t, dir, Options{Log: log})
				c := mustClaim(t, s, "a")[0]
				mustAppend(t, s, g.next())
				drain(t, c, Limits{})
				balanced(t, c)
				closeSpool(t, s)
				if !mentions(hook, filepath.Dir(path)) {
					t.Errorf("%s is not named in the log", path)
				}
				if got, err := os.ReadFile(path); err != nil || cmp.Diff(b, got) != "" {
					t.Errorf("%s was touched: %v", path, err)
				}
			}
		})
	}
}

func mentions(h *logtest.Hook, text string) bool {
	for _, e := range h.AllEntries() {
		for _, v := range e.Data {
			if s, ok := v.(string); ok && strings.Contains(s, text) {
				return true
			}
			if err, ok := v.(error); ok && strings.Contains(err.Error(), text) {
				return true
			}
		}
	}
	return false
}

// TestDamagedCursors: a cursor that is lost costs no sample; what it may have sent
// is sent again.
func TestDamagedCursors(t *testing.T) {
	for name, change := range map[string]func(b []byte) []byte{
		"gone":     func([]byte) []byte { return nil },
		"cut":      func(b []byte) []byte { return b[:2*slotSize+100] },
		"garbage":  func(b []byte) []byte { return []byte(strings.Repeat("garbage ", len(b)/8)) },
		"one slot": func(b []byte) []byte { b[2*slotSize+50]++; return b },
		"the pair": func(b []byte) []byte { b[2*slotSize+50]++; b[3*slotSize+50]++; return b },
		"state":    func(b []byte) []byte { b[50]++; b[slotSize+50]++; return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			s := mustOpen(t, dir, Options{})
			c := mustClaim(t, s, "a")[0]
			g := newTarget(2)
			var all []*series.Scrape
			for range 6 {
				sc := g.next()
				all = append(all, sc)
				mustAppend(t, s, sc)
			}
			if err := ack(c, series.Position{Scrape: 4, Count: 6}, series.Tally{Delivered: 6}); err != nil {
				t.Fatal(err)
			}
			crash(t, s)
			path := filepath.Join(dir, dirName(0), cursorsName)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, dir, Options{})
			c = mustClaim(t, s, "a")[0]
			got := drain(t, c, Limits{})
			for k, m := range want(all[3:]...) {
				for at, v := range m {
					if got[k][at] != v {
						t.Fatalf("%s at %d is missing", k, at)
					}
				}
			}
			balanced(t, c)
			if tally := c.Tally(); tally.Sum() != tally.Delivered {
				t.Errorf("lost %v", losses(tally))
			}
			closeSpool(t, s)
			s = mustOpen(t, dir, Options{})
			if c := mustClaim(t, s, "a")[0]; c.Backlog().Samples != 0 {
				t.Errorf("after another start %+v waits", c.Backlog())
			}
		})
	}
}

// TestStrangersStay: files that are not the spool's are not touched.
func TestStrangersStay(t *testing.T) {
	dir := memoryDir(t)
	for _, name := range []string{"ca.pem", "0.seg", "receivers.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := mustOpen(t, dir, Options{MaxBytes: 20_000, MaxAge: segmentAge})
	for _, name := range []string{"ca.pem", "12.seg", "x0000000000000000001.seg", "notes"} {
		if err := os.WriteFile(filepath.Join(dir, dirName(0), name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mustClaim(t, s, "a")
	g := newTarget(20)
	for range 1000 {
		mustAppend(t, s, g.next())
	}
	closeSpool(t, s)
	s = mustOpen(t, dir, Options{MaxBytes: 20_000, MaxAge: segmentAge})
	mustAppend(t, s, g.next())
	for _, name := range []string{"ca.pem", "0.seg", "receivers.json", "spool-v1/ca.pem", "spool-v1/12.seg", "spool-v1/x0000000000000000001.seg", "spool-v1/notes"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != filepath.Base(name) {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	for _, e := range ls(t, filepath.Join(dir, dirName(0))) {
		i, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := parseSegmentName(e.Name()); (ok || e.Name() == cursorsName || e.Name() == lockName) && i.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), i.Mode())
		}
	}
}
