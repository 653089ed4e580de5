// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"slices"

	"github.com/docker-remote-write/docker-remote-write/internal/replay"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// shape is what bodies like the last one that textparse has read are: all but their
// values. On an engine nearly every body has the shape of the one before. It stands for
// the series of the last good scrape, and for what the program sent beside them.
type shape struct {
	format format
	tape   *replay.Tape
	// starts are as in reading.
	starts        []int64
	scraped, kept int
	clashes       uint64
}

// replay reads b into out, if it has the shape; live are the series of the shape.
func (s *shape) replay(b []byte, live []*series.Series, out *series.Scrape, r *reading) bool {
	n := len(live)
	out.Values = slices.Grow(out.Values, n)[:n]
	if !s.tape.Replay(b, out.Values) {
		out.Reset()
		return false
	}
	out.Series = append(out.Series, live...)
	r.replayed, r.starts = true, s.starts
	r.scraped, r.kept, r.samples = s.scraped, s.kept, n
	r.noted.duplicates, r.noted.clashes = uint64(s.kept-n), s.clashes
	return true
}

// record is what textparse's reading of a body leaves for its shape.
type record struct {
	ok bool // it can have one
	// For each sample in the body: its column or -1, and where in text its labels end.
	columns, ends []int
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

// shape is that of b, which was just read into out, or nil.
func (r *record) shape(f format, b []byte, out *series.Scrape, read *reading) *shape {
	// Of an engine that may be booting each body is looked at.
	if booting := read.cpus && !read.engineInfo; !r.ok || booting || len(out.Series) == 0 || len(out.Histograms) > 0 || len(out.Exemplars) > 0 {
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
		format: f, tape: tape, starts: read.starts,
		scraped: read.scraped, kept: read.kept, clashes: read.noted.clashes,
	}
}
