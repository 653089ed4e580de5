// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"hash/maphash"
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/value"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// script is the shape of the last body that textparse has read: everything in it
// but the values. A body of the same shape, which on an engine nearly every one
// is, needs no parser: where all the bytes that name series are the same, the
// series are the same, and only the values are decoded. Any difference, and
// anything that a script does not know, leads back to textparse, for the whole
// body. What a script makes of the body it was recorded from is compared with
// what textparse made of it before the script is used.
//
// Of the bytes that must be the same a script keeps lengths and 64-bit hashes under
// a seed that is this process' secret, not the bytes: for 20,000 series those would
// be 2 MB, and reading them beside the body would take as long as the hash does. A
// changed series is taken for the old one with a probability of 2^-64.
type script struct {
	format format
	text   textScript
	pb     pbScript

	// n samples stand in the body; cols[i] is the column of the i-th of them, or
	// -1 if it is not part of the scrape. cols is nil if each is its own column.
	n    int
	cols []int32
	// series are the columns.
	series []*series.Series
	// scraped, kept and duplicates are those of the recorded body; cpus is the place
	// of the engine's number of processors, -1 if there is none.
	scraped, kept, duplicates int
	cpus                      int
	engineInfo                bool
	// Decoded, one each sample of the body; values only where cols is not nil.
	values []float64
	starts []int64
}

// seed is that of all hashes of scripts.
var seed = maphash.MakeSeed()

// literal is a run of bytes that stands in each body of one shape.
type literal struct {
	sum uint64
	n   int32
}

func literalOf(b []byte) literal { return literal{sum: maphash.Bytes(seed, b), n: int32(len(b))} }

// begins reports whether b begins with the literal.
func (l literal) begins(b []byte) bool {
	return len(b) >= int(l.n) && (l.n == 0 || maphash.Bytes(seed, b[:l.n]) == l.sum)
}

// record is what parse collects for a script while textparse reads a body.
type record struct {
	ok   bool
	lits []literal
	end  int // behind the last line read
	// cols has an item for each sample; direct says that it counts from 0 up.
	cols       []int32
	direct     bool
	duplicates int
	cpus       int
	engineInfo bool
}

func (r *record) begin() {
	*r = record{ok: true, lits: r.lits[:0], cols: r.cols[:0], direct: true, cpus: -1}
}

// skip notes a sample that is not part of the scrape, mark one that the scraper
// looks at; mark comes before the sample's column.
func (r *record) skip() { r.cols, r.direct = append(r.cols, -1), false }

func (r *record) mark(m marker) {
	switch m {
	case markCPUs:
		r.cpus = len(r.cols)
	case markEngineInfo:
		r.engineInfo = true
	}
}

// line notes a line of text: the bytes from the end of the line before up to the
// end of the series' name and labels.
func (r *record) line(b, key []byte) {
	if !r.ok {
		return
	}
	// key is a part of b; where it begins follows from what is left behind it.
	off := cap(b) - cap(key)
	end := off + len(key)
	if off < r.end || end >= len(b) || len(key) == 0 || &b[off] != &key[0] {
		r.ok = false
		return
	}
	r.lits = append(r.lits, literalOf(b[r.end:end]))
	nl := bytes.IndexByte(b[end:], '\n')
	if nl < 0 {
		nl = len(b) - end
	}
	r.end = min(end+nl+1, len(b))
}

// compile makes the script of the body b that was just read into out and starts,
// and returns nil if there can be none.
func (r *record) compile(old *script, f format, b []byte, out *series.Scrape, starts []int64, p *parse) *script {
	if !r.ok || len(r.cols) == 0 || len(out.Histograms) > 0 || len(out.Exemplars) > 0 {
		return nil
	}
	s := old
	if s == nil {
		s = &script{}
	}
	s.format, s.n = f, len(r.cols)
	s.cols = nil
	if !r.direct {
		s.cols = append([]int32(nil), r.cols...)
	}
	s.series = append(s.series[:0], out.Series...)
	s.scraped, s.kept, s.duplicates = p.scraped, p.kept, r.duplicates
	s.cpus, s.engineInfo = r.cpus, r.engineInfo
	switch f {
	case formatText:
		s.text.lits = append(s.text.lits[:0], r.lits...)
		s.text.tail = string(b[r.end:])
		s.pb = pbScript{}
	case formatProtobuf:
		s.text = textScript{}
		if !s.pb.compile(b) {
			return nil
		}
	default:
		return nil
	}
	if !s.decode(b, &s.values) {
		return nil
	}
	for i := range s.n {
		c := s.col(i)
		if c < 0 {
			continue
		}
		var start int64
		if c < len(starts) {
			start = starts[c]
		}
		if math.Float64bits(s.values[i]) != math.Float64bits(out.Values[c]) || clampStart(s.startOf(i), p.t) != start {
			return nil
		}
	}
	s.values = nil
	return s
}

func (s *script) col(i int) int {
	if s.cols == nil {
		return i
	}
	return int(s.cols[i])
}

func (s *script) startOf(i int) int64 {
	if len(s.starts) == 0 {
		return 0
	}
	return s.starts[i]
}

// decode reads the values of b, which must have the recorded shape, into *values,
// one each sample of the body.
func (s *script) decode(b []byte, values *[]float64) bool {
	v := slices.Grow((*values)[:0], s.n)[:s.n]
	*values = v
	if s.format == formatText {
		s.starts = s.starts[:0]
		return s.text.decode(b, v)
	}
	s.starts = slices.Grow(s.starts[:0], s.n)[:s.n]
	return s.pb.decode(b, v, s.starts)
}

// replay reads b into the columns of p, if it has the recorded shape.
func (s *script) replay(b []byte, p *parse) bool {
	// Where each sample is its own column the values are decoded in their place.
	values := &p.out.Values
	if s.cols != nil {
		values = &s.values
	}
	if !s.decode(b, values) {
		return false
	}
	p.out.Series = append(p.out.Series[:0], s.series...)
	if s.cpus >= 0 {
		p.look(markCPUs, (*values)[s.cpus])
	}
	if s.cols == nil {
		for i, st := range s.starts {
			p.addStart(i, st)
		}
	} else {
		for i, c := range s.cols {
			if c < 0 {
				continue
			}
			p.out.Values = append(p.out.Values, s.values[i])
			p.addStart(int(c), s.startOf(i))
		}
	}
	p.scraped, p.kept, p.entries = s.scraped, s.kept, len(s.series)
	p.st.Duplicates += uint64(s.duplicates)
	p.engineInfo = s.engineInfo
	p.replayed = true
	return true
}

// clampStart is a start timestamp as it is sent: 0 for none, and never later than
// the sample, as a host whose clock was set back would have it.
func clampStart(st, t int64) int64 {
	if st <= 0 {
		return 0
	}
	return min(st, t)
}

// textScript is the shape of a body in the text format: for each sample the bytes
// from the end of the line before it, comments included, to the end of its labels.
type textScript struct {
	lits []literal
	tail string
}

func (t *textScript) decode(b []byte, values []float64) bool {
	for i, l := range t.lits {
		if len(b) <= int(l.n) || b[l.n] != ' ' || !l.begins(b) {
			return false
		}
		b = b[l.n+1:]
		nl := bytes.IndexByte(b, '\n')
		if nl < 0 {
			nl = len(b)
		}
		v, ok := number(b[:nl])
		if !ok {
			return false
		}
		values[i] = v
		b = b[min(nl+1, len(b)):]
	}
	return string(b) == t.tail
}

// number reads what textparse takes for a value. It refuses more than that one
// does, which then has a look at it.
func number(b []byte) (float64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	if len(b) <= 15 {
		var n uint64
		for _, c := range b {
			if c < '0' || c > '9' {
				goto float
			}
			n = n*10 + uint64(c-'0')
		}
		return float64(n), true
	}
float:
	for _, c := range b {
		switch c {
		case 'p', 'P', '_', '{', ' ', '\t', 0:
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return 0, false
	}
	if math.IsNaN(v) {
		v = math.Float64frombits(value.NormalNaN)
	}
	return v, true
}
