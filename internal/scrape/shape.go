// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"slices"

	"github.com/docker-remote-write/docker-remote-write/internal/replay"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// shape is what bodies like the last one that textparse has read are: all but their
// values. On an engine nearly every body has the shape of the one before.
type shape struct {
	format format
	tape   *replay.Tape
	series []*series.Series
	// starts are as in parse.
	starts        []int64
	scraped, kept int
}

// replay reads b into the columns of p, if it has the shape.
func (s *shape) replay(b []byte, p *parse) bool {
	n := len(s.series)
	p.out.Values = slices.Grow(p.out.Values, n)[:n]
	if !s.tape.Replay(b, p.out.Values) {
		p.out.Reset()
		return false
	}
	p.out.Series = append(p.out.Series, s.series...)
	p.starts = append(p.starts, s.starts...)
	p.scraped, p.kept, p.entries = s.scraped, s.kept, n
	p.st.Duplicates += uint64(s.kept - n)
	p.replayed = true
	return true
}

// record is what textparse's reading of a body leaves for its shape.
type record struct {
	ok bool // it can have one
	// For each sample in the body: its column or -1, and where in text its labels end.
	columns, ends []int
}

func (r *record) begin() {
	r.ok, r.columns, r.ends = true, r.columns[:0], r.ends[:0]
}

// end notes where a series' name and labels end, which are the part key of b.
func (r *record) end(b, key []byte) {
	at := cap(b) - cap(key)
	if len(key) == 0 || at < 0 || at >= len(b) || &b[at] != &key[0] {
		r.ok = false
		return
	}
	r.ends = append(r.ends, at+len(key))
}

// shape is that of b, which was just read into p, or nil.
func (r *record) shape(f format, b []byte, p *parse) *shape {
	out := p.out
	// Of an engine that may be booting each body is looked at.
	if booting := p.cpus && !p.engineInfo; !r.ok || booting || len(out.Series) == 0 || len(out.Histograms) > 0 || len(out.Exemplars) > 0 {
		return nil
	}
	var tape *replay.Tape
	switch f {
	case formatText:
		tape = replay.Text(b, r.ends, r.columns, out.Values)
	case formatProtobuf:
		tape = replay.Protobuf(b, r.columns, out.Values)
	}
	if tape == nil {
		return nil
	}
	return &shape{
		format: f, tape: tape, series: slices.Clone(out.Series), starts: slices.Clone(p.starts),
		scraped: p.scraped, kept: p.kept,
	}
}
