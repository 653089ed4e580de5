// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// FuzzRecord decodes bodies of records that follow one another, as if their
// checksums were right: nothing panics, and what decodes has columns of one length.
func FuzzRecord(f *testing.F) {
	for _, c := range corpusRecords(f) {
		f.Add(c.flags, c.n, c.body)
	}
	f.Fuzz(func(t *testing.T, flags byte, n uint16, body []byte) {
		var d decoder
		// What it defines is its own: hostile input must not stay in the others' registry.
		reg := series.NewRegistry()
		for _, fl := range []byte{flags | recFull | recOrder, flags} {
			fr := frame{flags: fl, n: int(n), body: body}
			if fl&recTarget != 0 {
				fr.target = MaxTargets - 1
			}
			ok, err := d.decode(&fr, reg)
			if !ok {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			sc := &d.scrape
			if len(sc.Series) != len(sc.Values) || len(sc.Starts) != 0 && len(sc.Starts) != len(sc.Series) || sc.Len() != int(n) {
				t.Fatalf("%d series, %d values, %d starts, %d histograms of %d samples", len(sc.Series), len(sc.Values), len(sc.Starts), len(sc.Histograms), n)
			}
			for _, s := range sc.Series {
				if s == nil {
					t.Fatal("a series that is not defined")
				}
			}
			// It encodes again to something that decodes to the same.
			e := &entry{Scrape: *sc, column: &column{series: sc.Series}, seq: 1}
			var enc encoder
			b, err := enc.append(nil, 1, headerSize, e, reg)
			if err != nil {
				continue // a histogram that no scrape can have
			}
			again, err := parseFrame(1, headerSize, b)
			if err != nil {
				t.Fatal(err)
			}
			var d2 decoder
			if ok, err := d2.decode(&again, reg); !ok || err != nil {
				if duplicates(sc.Series) {
					continue
				}
				t.Fatal(ok, err)
			}
			for i := range sc.Values {
				if math.Float64bits(sc.Values[i]) != math.Float64bits(d2.scrape.Values[i]) && !duplicates(sc.Series) {
					t.Fatalf("value %d is %v instead of %v", i, d2.scrape.Values[i], sc.Values[i])
				}
			}
		}
	})
}

// duplicates reports whether a series stands twice, which no scrape has.
func duplicates(ss []*series.Series) bool {
	seen := map[*series.Series]bool{}
	for _, s := range ss {
		if seen[s] {
			return true
		}
		seen[s] = true
	}
	return false
}

type corpusRecord struct {
	flags byte
	n     uint16
	body  []byte
}

// corpusRecords are the unpacked bodies of a small spool.
func corpusRecords(t testing.TB) (out []corpusRecord) {
	p := makeSpecimen(t, 3, false)
	for i := range p.scrapes {
		fr, err := parseFrame(1, p.offsets[i], p.bytes[p.offsets[i]:p.offsets[i+1]])
		if err != nil {
			t.Fatal(err)
		}
		body, _, err := fr.unpack(nil)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, corpusRecord{fr.flags &^ recSnappy, uint16(fr.n), append([]byte(nil), body...)})
	}
	return out
}

// FuzzRecovery opens a directory with any bytes as its newest segment and as its
// cursors: it opens, goes on, and its books balance. resum repairs checksums, so
// that the fuzzer gets behind them; then it opens and goes on.
func FuzzRecovery(f *testing.F) {
	p, q := makeSpecimen(f, 4, false), makeSpecimen(f, 20, true)
	cursors, err := os.ReadFile(filepath.Join(p.dir, dirName(0), cursorsName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.bytes, cursors, false)
	f.Add(q.bytes, cursors, true)
	f.Add(p.bytes[:len(p.bytes)-5], cursors[:700], false)
	f.Add(p.bytes[:headerSize+3], []byte{}, true)
	f.Add([]byte{}, cursors, true)
	f.Fuzz(func(t *testing.T, segment, cursors []byte, resum bool) {
		if resum {
			segment, cursors = append([]byte(nil), segment...), append([]byte(nil), cursors...)
			repair(segment, cursors)
		}
		dir := memoryDir(t)
		sub := filepath.Join(dir, dirName(0))
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{segmentName(1): segment, cursorsName: cursors} {
			if err := os.WriteFile(filepath.Join(sub, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Inspect(dir); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, Options{Series: registry})
		if err != nil {
			t.Fatal(err)
		}
		defer closeSpool(t, s)
		end := s.log.readable()
		huge := end.seq > math.MaxUint64/2 || end.cum > math.MaxUint64/2
		for _, c := range s.all() {
			// Counts that no spool can have, under a checksum that is right.
			huge = huge || c.state.pos.Count > math.MaxUint64/2
		}
		if huge {
			return
		}
		c := mustClaim(t, s, "a")[0]
		g := newTarget(2)
		g.time = end.time
		if g.time > math.MaxInt64/2 {
			return
		}
		mustAppend(t, s, g.at(g.time+15_000))
		var b series.Batch
		for range 1000 {
			if err := c.Read(ctx(), &b, c.Position(), Limits{}); err != nil {
				t.Fatal(err)
			}
			if b.To == b.From {
				break
			}
			tally := series.Tally{Delivered: uint64(b.Samples)}
			tally.Lost = b.Lost
			_ = ack(c, b.To, tally)
		}
		if !resum {
			// Checksums that are right over counts that are wrong are no damage.
			balanced(t, c)
		}
	})
}

// repair makes the checksums of a segment's frames and of the slots right.
func repair(segment, cursors []byte) {
	if len(segment) >= headerSize {
		copy(segment, segmentMagic)
		binary.LittleEndian.PutUint16(segment[8:], version)
		binary.LittleEndian.PutUint64(segment[16:], 1)
		binary.LittleEndian.PutUint32(segment[headerSize-4:], sum(segment[:headerSize-4]))
		for off := headerSize; off+frameMin <= len(segment); {
			segment[off+4] = frameMagic
			n := frameLen(segment[off:])
			if n < frameMin || int(n) > len(segment)-off {
				break
			}
			binary.LittleEndian.PutUint32(segment[off:], frameSum(1, int64(off), segment[off+4:off+int(n)]))
			off += int(n)
		}
	}
	for at := 0; at+slotSize <= len(cursors); at += slotSize {
		slot := cursors[at : at+slotSize]
		copy(slot, slotMagic)
		binary.LittleEndian.PutUint16(slot[4:], version)
		binary.LittleEndian.PutUint32(slot[slotSize-4:], sum(slot[:slotSize-4]))
	}
}

// TestCorpus writes the seeds of the fuzz targets, with -update.
func TestCorpus(t *testing.T) {
	dir := filepath.Join("testdata", "fuzz", "FuzzRecord")
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for i, c := range corpusRecords(t) {
			text := "go test fuzz v1\nbyte(" + strconv.QuoteRune(rune(c.flags)) + ")\nuint16(" + strconv.Itoa(int(c.n)) + ")\n[]byte(" + strconv.Quote(string(c.body)) + ")\n"
			if err := os.WriteFile(filepath.Join(dir, "seed-"+strconv.Itoa(i)), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) < 3 {
		t.Errorf("%d seeds in %s", len(names), dir)
	}
}
