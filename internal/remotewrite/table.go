// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// sweepEvery is the number of requests after which the table looks for entries
// that were not used.
const sweepEvery = 64

// maxPassing bounds the symbols that belong to no series: exemplars bring new
// ones all the time.
const maxPassing = 8192

// table prepares each series once: relabelled, escaped for 1.0, its symbols
// numbered for 2.0 or its labels encoded for 1.0. It belongs to one protocol.
//
// What is not used is dropped: when less than half of the entries stood in the
// last requests the whole table is rebuilt from what comes next.
type table struct {
	proto   Protocol
	relabel []*relabel.Config

	entries map[*series.Series]*entry
	lines   map[uint64]*line // by hash of the labels
	symbols symbols
	fams    map[string]*family

	requests int // since the last sweep
	used     int // entries used since then
	epoch    uint32

	builder labels.Builder
	pairs   []labels.Label
}

// entry says what becomes of one series.
type entry struct {
	line *line // nil when its samples are dropped
	loss series.Loss
	used uint32 // epoch of the last use
}

// line is a series as it is sent. Several entries may share one: copies of a
// series, or different ones that relabelling or escaping made equal.
type line struct {
	labels  labels.Labels
	chained *line // the next one with the same hash

	refs    []uint32 // 2.0: symbols of the labels, name and value in turn
	help    uint32
	helped  int64 // when the help text last arrived, in milliseconds; 0 for never
	unit    uint32
	typ     byte
	encoded []byte  // 1.0: the labels as fields of a TimeSeries
	family  *family // 1.0

	request uint64 // the last request it stood in
	first   int32  // its first row in that request
	last    int32
	last64  uint64 // the bits of its last value there
}

// family is what 1.0 sends metadata for.
type family struct {
	name, help, unit string
	typ              model.MetricType
	request          uint64 // the last request that carried it
	sent             int64  // when it last arrived, in milliseconds; 0 for never
}

func newTable(p Protocol, r []*relabel.Config) *table {
	t := &table{proto: p, relabel: r}
	t.reset()
	return t
}

func (t *table) reset() {
	t.entries = make(map[*series.Series]*entry)
	t.lines = make(map[uint64]*line)
	t.symbols.reset()
	if t.fams == nil || len(t.fams) > 1024 {
		t.fams = make(map[string]*family)
	}
}

// turn is called before each request.
func (t *table) turn() {
	if t.requests++; t.requests < sweepEvery && t.symbols.passing < maxPassing {
		return
	}
	if t.symbols.passing >= maxPassing || len(t.entries) > 2*t.used+256 {
		t.reset()
	}
	t.requests, t.used = 0, 0
	t.epoch++
}

// lookup returns what becomes of s.
func (t *table) lookup(s *series.Series) *entry {
	e := t.entries[s]
	if e == nil {
		e = t.prepare(s)
		e.used = t.epoch - 1
		t.entries[s] = e
	}
	if e.used != t.epoch {
		e.used = t.epoch
		t.used++
	}
	return e
}

func (t *table) prepare(s *series.Series) *entry {
	ls := s.Labels
	if len(t.relabel) > 0 {
		t.builder.Reset(ls)
		if !relabel.ProcessBuilder(&t.builder, t.relabel...) {
			return &entry{loss: series.Relabelled}
		}
		// A series without a name would make the receiver refuse its neighbours.
		if ls = t.builder.Labels(); ls.Get(model.MetricNameLabel) == "" {
			return &entry{loss: series.Relabelled}
		}
	}
	if t.proto == V1 {
		var ok bool
		if ls, ok = t.escape(ls); !ok {
			return &entry{loss: series.Unsupported}
		}
	}
	return &entry{line: t.line(ls, s)}
}

// escape replaces what 1.0 does not allow in names, as Prometheus does for
// receivers without UTF-8 names. It reports false when two labels of the series
// would get the same name.
func (t *table) escape(ls labels.Labels) (labels.Labels, bool) {
	changed := false
	t.pairs = t.pairs[:0]
	ls.Range(func(l labels.Label) {
		if l.Name == model.MetricNameLabel {
			if v := model.EscapeName(l.Value, model.UnderscoreEscaping); v != l.Value {
				l.Value, changed = v, true
			}
		} else if !model.LegacyValidation.IsValidLabelName(l.Name) {
			// A colon is legal in a metric's name only.
			l.Name = strings.ReplaceAll(model.EscapeName(l.Name, model.UnderscoreEscaping), ":", "_")
			changed = true
		}
		t.pairs = append(t.pairs, l)
	})
	if !changed {
		return ls, true
	}
	slices.SortFunc(t.pairs, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(t.pairs); i++ {
		if t.pairs[i].Name == t.pairs[i-1].Name {
			return ls, false
		}
	}
	return labels.New(t.pairs...), true
}

// line returns the line with these labels, a new one with s's metadata if need be.
func (t *table) line(ls labels.Labels, s *series.Series) *line {
	h := ls.Hash()
	for l := t.lines[h]; l != nil; l = l.chained {
		if labels.Equal(l.labels, ls) {
			return l
		}
	}
	l := &line{labels: ls, chained: t.lines[h]}
	t.lines[h] = l
	if t.proto == V1 {
		ls.Range(func(p labels.Label) { l.encoded = appendLabelV1(l.encoded, p.Name, p.Value) })
		l.family = t.family(ls.Get(model.MetricNameLabel), s)
		return l
	}
	l.refs = make([]uint32, 0, 2*ls.Len())
	ls.Range(func(p labels.Label) {
		l.refs = append(l.refs, t.symbols.id(p.Name), t.symbols.id(p.Value))
	})
	l.help, l.unit, l.typ = t.symbols.id(s.Help), t.symbols.id(s.Unit), metricTypeV2(s.Type)
	return l
}

// family returns the metric family that a series with that name belongs to: the
// name without the suffix that its type puts behind it.
func (t *table) family(name string, s *series.Series) *family {
	var suffixes []string
	switch s.Type {
	case model.MetricTypeHistogram:
		suffixes = []string{"_bucket", "_sum", "_count"}
	case model.MetricTypeGaugeHistogram:
		suffixes = []string{"_bucket", "_gsum", "_gcount"}
	case model.MetricTypeSummary:
		suffixes = []string{"_sum", "_count"}
	}
	for _, x := range suffixes {
		if base, ok := strings.CutSuffix(name, x); ok && base != "" {
			name = base
			break
		}
	}
	f := t.fams[name]
	if f == nil {
		f = &family{name: name, help: s.Help, unit: s.Unit, typ: s.Type}
		t.fams[name] = f
	}
	return f
}

// symbols numbers strings for as long as the table lives, and within a request
// gives those that occur the references it needs.
type symbols struct {
	ids     map[string]uint32
	all     []symbol
	passing int // how many of them belong to no series

	request uint64
	order   []uint32 // ids in the order of their references, from 1 on
}

type symbol struct {
	text    string
	request uint64
	ref     uint32
}

func (s *symbols) reset() {
	s.ids = map[string]uint32{"": 0}
	clear(s.all)
	s.all = append(s.all[:0], symbol{})
	s.passing = 0
}

// id numbers a string; "" is 0.
func (s *symbols) id(text string) uint32 {
	if id, ok := s.ids[text]; ok {
		return id
	}
	id := uint32(len(s.all))
	s.all = append(s.all, symbol{text: text})
	s.ids[text] = id
	return id
}

// passingRef is the reference of a string that no series has.
func (s *symbols) passingRef(text string) uint32 {
	n := len(s.all)
	id := s.id(text)
	s.passing += len(s.all) - n
	return s.ref(id)
}

// begin starts the references of a request.
func (s *symbols) begin(request uint64) {
	s.request = request
	s.order = s.order[:0]
}

// ref is the reference of that string in the current request.
func (s *symbols) ref(id uint32) uint32 {
	if id == 0 {
		return 0
	}
	y := &s.all[id]
	if y.request != s.request {
		y.request = s.request
		s.order = append(s.order, id)
		y.ref = uint32(len(s.order))
	}
	return y.ref
}

// append writes the table of symbols that the references point into.
func (s *symbols) append(dst []byte) []byte {
	dst = append(dst, tagSymbols, 0)
	for _, id := range s.order {
		dst = appendBytes(dst, tagSymbols, s.all[id].text)
	}
	return dst
}
