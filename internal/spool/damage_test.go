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
	// flags are those of the records.
	flags []byte
	path  string
	bytes []byte
}

// makeSpecimen writes n scrapes of two series; with several, of three targets with two
// series each, of which one is scraped more often than the others.
func makeSpecimen(t testing.TB, n int, several bool) *specimen {
	t.Helper()
	p := &specimen{dir: memoryDir(t)}
	s := mustOpen(t, p.dir, Options{})
	mustClaim(t, s, "a")
	g := newTarget(6)
	for i := range n {
		sc := g.next()
		k := map[int]uint8{0: 1, 5: 2}[i%8]
		if !several {
			k = 0
		}
		sc.Target, sc.Series, sc.Values = k, sc.Series[2*k:2*k+2], sc.Values[2*k:2*k+2]
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
		p.flags = append(p.flags, r.flags)
	}
	p.offsets = append(p.offsets, int64(len(p.bytes)))
	return p
}

// lost is the table of what damage within the record with that index costs: itself, and
// of each target what follows up to its next record in full; all of a target if its
// definitions go.
func (p *specimen) lost(k int) []bool {
	out := make([]bool, len(p.scrapes))
	good := map[uint8]bool{}
	for i := k; i < len(out); i++ {
		of := p.scrapes[i].Target
		if i > k && p.flags[i]&recFull != 0 && (p.flags[k]&recDefs == 0 || of != p.scrapes[k].Target) {
			good[of] = true
		}
		out[i] = !good[of]
	}
	return out
}

// from is all from that scrape on.
func (p *specimen) from(k int) []bool {
	out := make([]bool, len(p.scrapes))
	for i := k; i < len(out); i++ {
		out[i] = true
	}
	return out
}

// check opens the spool with those bytes as its segment, expects exactly those
// scrapes to be missing, and that it goes on.
func (p *specimen) check(t *testing.T, bytes []byte, missing []bool) {
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
	whole, gone := more, uint64(0)
	for i, sc := range p.scrapes {
		if missing[i] {
			gone += uint64(sc.Len())
		} else {
			whole = append(whole, sc)
		}
	}
	same(t, drain(t, c, Limits{}), want(whole...))
	balanced(t, c)
	tally := c.Tally()
	if got := tally.Lost[series.Unreadable]; got != gone || tally.Sum()-tally.Delivered != gone {
		t.Errorf("lost %v, want %d unreadable", losses(tally), gone)
	}
	if t.Failed() {
		t.FailNow()
	}
}

func TestTruncatedAtEveryByte(t *testing.T) {
	for name, several := range map[string]bool{"one target": false, "several": true} {
		t.Run(name, func(t *testing.T) {
			p := makeSpecimen(t, 8, several)
			for n := range p.bytes {
				kept := 0
				for kept < len(p.scrapes) && p.offsets[kept+1] <= int64(n) {
					kept++
				}
				// The cursor file knows what was appended, so that a tail that was synced
				// and is gone counts.
				p.check(t, p.bytes[:n], p.from(kept))
			}
		})
	}
}

func TestEveryByteFlipped(t *testing.T) {
	for name, several := range map[string]bool{"one target": false, "several": true} {
		t.Run(name, func(t *testing.T) {
			p := makeSpecimen(t, fullEvery+4, several)
			if several {
				p = makeSpecimen(t, fullEvery/3*4+12, several)
			}
			for n := range p.bytes {
				b := slices.Clone(p.bytes)
				b[n] ^= 1 << (n % 8)
				if n < headerSize {
					// The header: name and records say the same again.
					p.check(t, b, p.from(len(p.scrapes)))
					continue
				}
				k := 0
				for p.offsets[k+1] <= int64(n) {
					k++
				}
				p.check(t, b, p.lost(k))
			}
		})
	}
}
