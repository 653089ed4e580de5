// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// specimen is a spool on disk with one segment and a cursor "a" in front of it.
type specimen struct {
	dir     string
	scrapes []*series.Scrape
	// offsets are where the records begin, and the end of the last one.
	offsets []int64
	fulls   []bool
	path    string
	bytes   []byte
}

// makeSpecimen writes n scrapes of two series.
func makeSpecimen(t testing.TB, n int) *specimen {
	t.Helper()
	p := &specimen{dir: memoryDir(t)}
	s := mustOpen(t, p.dir, Options{})
	mustClaim(t, s, "a")
	g := newTarget(2)
	for range n {
		sc := g.next()
		p.scrapes = append(p.scrapes, sc)
		mustAppend(t, s, sc)
	}
	closeSpool(t, s)
	p.path = filepath.Join(p.dir, dirName(0), segmentName(1))
	var err error
	if p.bytes, err = os.ReadFile(p.path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(p.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc := scanner{fs: &fileOps{}}
	sc.reset(f, &segment{header: header{first: 1}}, int64(len(p.bytes)))
	for {
		r, damage, err := sc.next()
		if errors.Is(err, io.EOF) && damage == 0 {
			break
		}
		if err != nil || damage != 0 {
			t.Fatalf("the specimen is damaged: %d bytes, %v", damage, err)
		}
		p.offsets = append(p.offsets, r.offset)
		p.fulls = append(p.fulls, r.flags&recFull != 0)
	}
	p.offsets = append(p.offsets, int64(len(p.bytes)))
	return p
}

// lostTo is the table of what damage within the record with that index costs: the
// scrapes [k, next) up to the next full record, all of them if the definitions go.
func (p *specimen) lostTo(k int) int {
	if k == 0 {
		return len(p.scrapes)
	}
	for next := k + 1; next < len(p.fulls); next++ {
		if p.fulls[next] {
			return next
		}
	}
	return len(p.fulls)
}

// check opens the spool with those bytes as its segment, expects exactly the
// scrapes [from, to) to be missing, and that it goes on.
func (p *specimen) check(t *testing.T, bytes []byte, from, to int) {
	t.Helper()
	dir := filepath.Join(memoryDir(t), "spool")
	if err := os.CopyFS(dir, os.DirFS(p.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, dirName(0), segmentName(1)), bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, Options{Series: registry})
	if err != nil {
		t.Fatal(err)
	}
	defer closeSpool(t, s)
	c := mustClaim(t, s, "a")[0]
	g := newTarget(3)
	g.time = p.scrapes[len(p.scrapes)-1].Time
	more := []*series.Scrape{g.next(), g.next()}
	for _, sc := range more {
		mustAppend(t, s, sc)
	}
	whole := slices.Concat(p.scrapes[:from], p.scrapes[to:], more)
	same(t, drain(t, c, Limits{}), want(whole...))
	balanced(t, c)
	tally := c.Tally()
	if got, want := tally.Lost[series.Unreadable], uint64(2*(to-from)); got != want || tally.Sum()-tally.Delivered != want {
		t.Errorf("lost %v, want %d unreadable", losses(tally), want)
	}
	if t.Failed() {
		t.FailNow()
	}
}

func TestTruncatedAtEveryByte(t *testing.T) {
	p := makeSpecimen(t, 8)
	for n := range p.bytes {
		kept := 0
		for kept < len(p.scrapes) && p.offsets[kept+1] <= int64(n) {
			kept++
		}
		// The cursor file knows what was appended, so that a tail that was synced
		// and is gone counts.
		p.check(t, p.bytes[:n], kept, len(p.scrapes))
	}
}

func TestEveryByteFlipped(t *testing.T) {
	p := makeSpecimen(t, fullEvery+4)
	for n := range p.bytes {
		b := slices.Clone(p.bytes)
		b[n] ^= 1 << (n % 8)
		if n < headerSize {
			// The header: name and records say the same again.
			p.check(t, b, 0, 0)
			continue
		}
		k := 0
		for p.offsets[k+1] <= int64(n) {
			k++
		}
		p.check(t, b, k, p.lostTo(k))
	}
}
