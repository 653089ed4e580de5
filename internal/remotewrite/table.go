// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

const (
	// sweepEvery is the number of requests after which the table looks for series
	// that were not used.
	sweepEvery = 64
	// restAfter is the number of requests with known series only after which a table
	// of more than restAbove drops its maps.
	restAfter = 16
	restAbove = 4096
	// slabSize is the number of lines that are allocated together.
	slabSize = 64
	// maxPassing bounds the symbols that belong to no series: exemplars bring new
	// ones all the time.
	maxPassing = 8192
)

// table prepares each series once: relabelled, escaped for 1.0, its symbols
// numbered for 2.0 or its labels encoded for 1.0. It belongs to one protocol.
//
// Request after request the same series come in the same order, so that each is
// found where it followed last time, and no map is asked.
//
// What is not used is dropped: when less than half of the series that were known
// stood in the last requests, of which there were enough to carry each of them once,
// the whole table is rebuilt from what comes next.
type table struct {
	proto   Protocol
	relabel []*relabel.Config
	omit    Omit

	known []known
	at    int32 // the one looked up last, -1 for none
	slab  []line
	// dropped stand for series that are not sent, by reason.
	dropped map[series.Loss]*line
	symbols symbols
	fams    map[string]*family

	// index finds the known by their series, lines by the hash of their labels. Both
	// are nil while the table rests.
	index map[*series.Series]int32
	lines map[uint64]*line

	old      int // how many were known at the last sweep
	requests int // since then
	rows     int // looked up since then
	used     int // of the old, since then
	quiet    int // requests in a row without a miss
	missed   bool
	epoch    uint32

	builder labels.Builder
	pairs   []labels.Label
	names   []byte
}

// known says what becomes of one series.
type known struct {
	series *series.Series
	line   *line
	next   int32  // the one that followed it last time
	used   uint32 // epoch of the last use
}

// line is a series as it is sent. Several known may share one: copies of a series,
// or different ones that relabelling or escaping made equal.
type line struct {
	labels labels.Labels
	// names is 2.0's symbols of the labels, name and value in turn, each as a
	// uvarint, or 1.0's labels as fields of a TimeSeries.
	names   string
	chained *line   // the next one with the same hash
	family  *family // 1.0; nil without metadata
	help    uint32  // symbols
	unit    uint32
	request uint32 // the last request it stood in
	first   int32  // its first row in that request
	last    int32
	typ     byte

	drop bool // it is not sent
	loss series.Loss
}

// family is what 1.0 sends metadata for.
type family struct {
	name, help, unit string
	typ              model.MetricType
	request          uint32 // the last request that carried it
	sent             int64  // when it last arrived, in milliseconds; 0 for never
}

func newTable(p Protocol, r []*relabel.Config) *table {
	t := &table{proto: p, relabel: r}
	t.reset()
	return t
}

func (t *table) reset() {
	t.known, t.at, t.slab = nil, -1, nil
	t.dropped = map[series.Loss]*line{}
	t.index = map[*series.Series]int32{}
	t.lines = map[uint64]*line{}
	t.symbols.reset()
	t.quiet = 0
	if t.fams == nil || len(t.fams) > 1024 {
		t.fams = make(map[string]*family)
	}
}

// turn is called before each request.
func (t *table) turn() {
	if t.quiet++; t.missed || t.symbols.missed {
		t.quiet = 0
	}
	t.missed, t.symbols.missed = false, false
	if t.quiet == restAfter && len(t.known) > restAbove {
		t.index, t.lines, t.symbols.ids = nil, nil, nil
	}
	if t.requests++; (t.requests < sweepEvery || t.rows < t.old) && t.symbols.passing < maxPassing {
		return
	}
	if t.symbols.passing >= maxPassing || t.old > 2*t.used+256 {
		t.reset()
	}
	t.old, t.requests, t.rows, t.used = len(t.known), 0, 0, 0
	t.epoch++
}

// lookup returns how s is sent.
func (t *table) lookup(s *series.Series) *line {
	i := int32(0)
	if t.at >= 0 {
		i = t.known[t.at].next
	}
	if int(i) >= len(t.known) || t.known[i].series != s {
		i = t.find(s)
		if t.at >= 0 {
			t.known[t.at].next = i
		}
	}
	t.at = i
	t.rows++
	k := &t.known[i]
	if k.used != t.epoch {
		k.used = t.epoch
		if int(i) < t.old {
			t.used++
		}
	}
	return k.line
}

// find gives the place of a series that does not come where it came before.
func (t *table) find(s *series.Series) int32 {
	t.missed = true
	if t.index == nil {
		t.index = make(map[*series.Series]int32, len(t.known))
		for i := range t.known {
			t.index[t.known[i].series] = int32(i)
		}
	}
	i, ok := t.index[s]
	if !ok {
		i = int32(len(t.known))
		t.known = append(t.known, known{series: s, line: t.prepare(s), used: t.epoch - 1})
		t.index[s] = i
	}
	return i
}

func (t *table) prepare(s *series.Series) *line {
	ls := s.Labels
	if t.omit.NativeHistograms && native(s) {
		return t.drop(series.Relabelled)
	}
	if len(t.relabel) > 0 {
		t.builder.Reset(ls)
		if !relabel.ProcessBuilder(&t.builder, t.relabel...) {
			return t.drop(series.Relabelled)
		}
		// A series without a name would make the receiver refuse its neighbours.
		if ls = t.builder.Labels(); ls.Get(model.MetricNameLabel) == "" {
			return t.drop(series.Relabelled)
		}
	}
	if t.proto == V1 {
		var ok bool
		if ls, ok = t.escape(ls); !ok {
			return t.drop(series.Unsupported)
		}
	}
	return t.line(ls, s)
}

// native reports whether s is a native histogram, whose end is a float like any
// other's: those of a classic one have suffixes.
func native(s *series.Series) bool {
	if s.Type != model.MetricTypeHistogram && s.Type != model.MetricTypeGaugeHistogram {
		return false
	}
	name := s.Labels.Get(model.MetricNameLabel)
	return s.Family == name || s.Family == "" && series.FamilyOf(name, s.Type) == name
}

func (t *table) drop(why series.Loss) *line {
	l := t.dropped[why]
	if l == nil {
		l = &line{drop: true, loss: why}
		t.dropped[why] = l
	}
	return l
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
	if t.lines == nil {
		t.lines = make(map[uint64]*line, len(t.known))
		for i := range t.known {
			l := t.known[i].line
			if l.drop {
				continue
			}
			if h := l.labels.Hash(); !l.in(t.lines[h]) {
				l.chained = t.lines[h]
				t.lines[h] = l
			}
		}
	}
	h := ls.Hash()
	for l := t.lines[h]; l != nil; l = l.chained {
		if labels.Equal(l.labels, ls) {
			return l
		}
	}
	if len(t.slab) == cap(t.slab) {
		t.slab = make([]line, 0, slabSize)
	}
	t.slab = append(t.slab, line{labels: ls, chained: t.lines[h]})
	l := &t.slab[len(t.slab)-1]
	t.lines[h] = l
	t.names = t.names[:0]
	if t.proto == V1 {
		ls.Range(func(p labels.Label) { t.names = appendLabelV1(t.names, p.Name, p.Value) })
		if !t.omit.Metadata {
			l.family = t.family(ls.Get(model.MetricNameLabel), s)
		}
	} else {
		ls.Range(func(p labels.Label) {
			t.names = binary.AppendUvarint(t.names, uint64(t.symbols.id(p.Name)))
			t.names = binary.AppendUvarint(t.names, uint64(t.symbols.id(p.Value)))
		})
		if !t.omit.Metadata {
			l.help, l.unit, l.typ = t.symbols.id(s.Help), t.symbols.id(s.Unit), metricTypeV2(s.Type)
		}
	}
	l.names = string(t.names)
	return l
}

// in reports whether l is in the chain.
func (l *line) in(chain *line) bool {
	for ; chain != nil; chain = chain.chained {
		if chain == l {
			return true
		}
	}
	return false
}

// family returns the metric family of a series that is sent under that name, which
// may not be its own: the name that the exposition gives it then says nothing.
func (t *table) family(name string, s *series.Series) *family {
	own := s.Labels.Get(model.MetricNameLabel)
	if s.Family != "" && name == model.EscapeName(own, model.UnderscoreEscaping) {
		name = model.EscapeName(s.Family, model.UnderscoreEscaping)
	} else {
		name = series.FamilyOf(name, s.Type)
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
	ids     map[string]uint32 // nil while the table rests
	texts   []string
	uses    []use // of each, apart from the texts: those are read once a request only
	passing int   // how many of them belong to no series
	missed  bool  // ids was asked

	request uint32
	order   []uint32 // ids in the order of their references, from 1 on
	size    int      // of the request's table of symbols, in bytes
}

// use is the last request that a symbol stood in, and its reference there.
type use struct{ request, ref uint32 }

func (s *symbols) reset() {
	s.ids = map[string]uint32{"": 0}
	s.texts, s.uses = []string{""}, []use{{}}
	s.passing = 0
}

// id numbers a string; "" is 0.
func (s *symbols) id(text string) uint32 {
	s.missed = true
	if s.ids == nil {
		s.ids = make(map[string]uint32, len(s.texts))
		for i, text := range s.texts {
			s.ids[text] = uint32(i)
		}
	}
	if id, ok := s.ids[text]; ok {
		return id
	}
	id := uint32(len(s.texts))
	s.texts, s.uses = append(s.texts, text), append(s.uses, use{})
	s.ids[text] = id
	return id
}

// passingRef is the reference of a string that no series has.
func (s *symbols) passingRef(text string) uint32 {
	n := len(s.texts)
	id := s.id(text)
	s.passing += len(s.texts) - n
	return s.ref(id)
}

// begin starts the references of a request.
func (s *symbols) begin(request uint32) {
	s.request = request
	s.order = s.order[:0]
	s.size = 2
}

// ref is the reference of that string in the current request.
func (s *symbols) ref(id uint32) uint32 {
	if id == 0 {
		return 0
	}
	u := &s.uses[id]
	if u.request != s.request {
		s.order = append(s.order, id)
		*u = use{s.request, uint32(len(s.order))}
		n := len(s.texts[id])
		s.size += 1 + varintLen(uint64(n)) + n
	}
	return u.ref
}

// appendRefs writes the references of the symbols whose numbers stand in names, as
// uvarints like these.
func (s *symbols) appendRefs(dst []byte, names string) []byte {
	n := len(dst)
	dst = slices.Grow(dst, binary.MaxVarintLen32*len(names))
	b := dst[:cap(dst)]
	for i := 0; i < len(names); {
		id := uint32(names[i])
		i++
		if id >= 0x80 {
			id &= 0x7f
			for shift := 7; ; shift += 7 {
				c := uint32(names[i])
				i++
				id |= c & 0x7f << shift
				if c < 0x80 {
					break
				}
			}
		}
		u := s.uses[id]
		if u.request != s.request {
			u.ref = s.ref(id)
		}
		ref := u.ref
		for ; ref >= 0x80; ref >>= 7 {
			b[n] = byte(ref) | 0x80
			n++
		}
		b[n] = byte(ref)
		n++
	}
	return b[:n]
}

// append writes the table of symbols that the references point into, size bytes.
func (s *symbols) append(dst []byte) []byte {
	dst = append(dst, tagSymbols, 0)
	for _, id := range s.order {
		dst = appendBytes(dst, tagSymbols, s.texts[id])
	}
	return dst
}
