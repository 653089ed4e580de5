// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// cache maps the bytes by which the target names a series to what is sent for it,
// so that a known series costs one lookup. It holds the series of the last good
// scrape and nothing else.
type cache struct {
	o *Options
	// live are the entries whose series the last scrape handed out had.
	live []*entry
	// round counts attempts; what carries the current round was seen in this one.
	round uint64
	// raws is keyed by the bytes of the exposition in one format; it begins anew
	// when the format changes. entries is keyed by the label set as it is sent, so
	// that two spellings, or two formats, meet in one entry.
	raws     map[string]*raw
	entries  map[labels.Labels]*entry
	families map[string]*family
	format   format
	// good is the number of raws of the last good scrape, peak the most since the
	// maps were made; maps never shrink.
	good, peak int
	idle       int  // scrapes since a body was read with the cache
	resting    bool // raws and entries are empty, and live has all that is known
	settled    bool // a shape has lasted before
	// reserved are the label sets that the program itself sends.
	reserved map[labels.Labels]struct{}

	builder labels.Builder
	clashes []labels.Label
}

// raw is one spelling of a series.
type raw struct {
	key string
	// entry is nil if Keep and Drop exclude the series, or the program sends one
	// with the same labels.
	entry *entry
	// family in force when the series was resolved; under another one the series
	// is resolved anew.
	family *family
	next   *raw
	seen   uint64
	marker marker
}

// marker singles out the few series whose value the scraper itself looks at.
type marker uint8

const (
	markNone marker = iota
	markCPUs
	markEngineInfo
)

// entry is one label set.
type entry struct {
	series *series.Series
	seen   uint64
	// fresh until it was part of a scrape that was handed out.
	fresh bool
}

// family is what the exposition says about a metric. It is immutable; a change
// makes another one.
type family struct {
	name, help, unit string
	typ              model.MetricType
	seen             uint64
}

var noFamily = &family{typ: model.MetricTypeUnknown}

func newCache(o *Options) *cache {
	c := &cache{o: o, reserved: map[labels.Labels]struct{}{}}
	c.reset()
	return c
}

func (c *cache) reset() {
	c.raws = map[string]*raw{}
	c.entries = map[labels.Labels]*entry{}
	c.families = map[string]*family{}
	c.peak, c.resting = 0, false
}

// begin starts an attempt.
func (c *cache) begin() { c.round++ }

// use prepares for a body in format f.
func (c *cache) use(f format) {
	if f != c.format {
		c.format, c.raws = f, map[string]*raw{}
	}
}

// resolve makes or renews the raw of a series that is not known by these bytes,
// or is known under another family. ls are the labels of the exposition.
func (c *cache) resolve(r *raw, key []byte, ls labels.Labels, f *family, st *Stats) (*raw, error) {
	if name, dup := ls.HasDuplicateLabelNames(); dup {
		return nil, failed(Parse, "series %.200q: label %.100q stands twice", key, name)
	}
	name := ls.Get(model.MetricNameLabel)
	if name == "" {
		return nil, failed(Parse, "series %.200q has no name", key)
	}
	if r == nil {
		r = &raw{key: string(key), marker: markerOf(name)}
		c.raws[r.key] = r
		c.peak = max(c.peak, len(c.raws))
	}
	r.family, r.entry = f, nil
	if !c.kept(name) {
		return r, nil
	}
	full, renamed := c.targetLabels(ls)
	if !full.IsValid(model.UTF8Validation) {
		return nil, failed(Parse, "series %.200q: a label name is not valid UTF-8", key)
	}
	if _, ours := c.reserved[full]; ours {
		st.Clashes++
		return r, nil
	}
	meta, famName := noFamily, ""
	if f.covers(name) {
		if meta = f; f.name != series.FamilyOf(name, f.typ) {
			famName = f.name
		}
	}
	e := c.entries[full]
	if e == nil {
		e = &entry{fresh: true}
		c.entries[full] = e
		st.Renamed += uint64(renamed)
	}
	if s := e.series; s == nil || s.Type != meta.typ || s.Help != meta.help || s.Unit != meta.unit || s.Family != famName {
		if s != nil {
			full = s.Labels
		}
		e.series = &series.Series{Labels: full, Type: meta.typ, Help: meta.help, Unit: meta.unit, Family: famName}
	}
	r.entry = e
	return r, nil
}

func (c *cache) kept(name string) bool {
	if c.o.Keep.Regexp != nil && !c.o.Keep.MatchString(name) {
		return false
	}
	return c.o.Drop.Regexp == nil || !c.o.Drop.MatchString(name)
}

// targetLabels attaches job, instance and the external labels and drops empty
// labels. It returns how many labels had to be renamed.
func (c *cache) targetLabels(ls labels.Labels) (labels.Labels, int) {
	b := &c.builder
	b.Reset(ls)
	c.clashes = c.clashes[:0]
	for _, l := range [...]labels.Label{{Name: "job", Value: c.o.Job}, {Name: "instance", Value: c.o.Instance}} {
		if v := ls.Get(l.Name); v != "" {
			c.clashes = append(c.clashes, labels.Label{Name: l.Name, Value: v})
		}
		b.Set(l.Name, l.Value)
	}
	slices.SortStableFunc(c.clashes, func(x, y labels.Label) int { return len(x.Name) - len(y.Name) })
	for _, l := range c.clashes {
		name := model.ExportedLabelPrefix + l.Name
		for b.Get(name) != "" {
			name = model.ExportedLabelPrefix + name
		}
		b.Set(name, l.Value)
	}
	c.o.External.Range(func(l labels.Label) {
		if b.Get(l.Name) == "" {
			b.Set(l.Name, l.Value)
		}
	})
	return b.Labels(), len(c.clashes)
}

// familyOf returns the family with these properties, the same pointer as long as
// they stay the same, and whether this round sees the name for the first time.
func (c *cache) familyOf(name, help, unit []byte, typ model.MetricType) (f *family, first bool) {
	f = c.families[string(name)]
	first = f == nil || f.seen != c.round
	if f == nil || f.typ != typ || f.help != string(help) || f.unit != string(unit) {
		f = &family{name: string(name), help: string(help), unit: string(unit), typ: typ}
		c.families[f.name] = f
	}
	f.seen = c.round
	return f, first
}

// covers reports whether a series of that name belongs to the family: the name
// itself, or with one of the suffixes that its type has.
func (f *family) covers(name string) bool {
	suffix, ok := strings.CutPrefix(name, f.name)
	if !ok || f.name == "" {
		return false
	}
	switch suffix {
	case "":
		return true
	case "_total", "_created":
		return f.typ == model.MetricTypeCounter
	case "_count", "_sum":
		return f.typ == model.MetricTypeHistogram || f.typ == model.MetricTypeSummary || f.typ == model.MetricTypeGaugeHistogram
	case "_bucket":
		return f.typ == model.MetricTypeHistogram || f.typ == model.MetricTypeGaugeHistogram
	case "_gcount", "_gsum":
		return f.typ == model.MetricTypeGaugeHistogram
	case "_info":
		return f.typ == model.MetricTypeInfo
	}
	return false
}

// Where so many scrapes in a row had one shape, the maps of so many series are
// forgotten: for 20,000 series they take 5 MB, and are made again with the next body
// of another shape.
const (
	restAfter = 8
	restAbove = 4096
)

// rest counts a scrape that did without the cache, and reports whether there were so
// many in a row that what reading the shape took can be let go of.
func (c *cache) rest() bool {
	if c.idle++; c.idle != restAfter {
		return false
	}
	first := !c.settled
	c.settled = true
	if max(len(c.raws), len(c.entries)) <= restAbove {
		return first
	}
	c.raws, c.entries, c.peak = map[string]*raw{}, map[labels.Labels]*entry{}, 0
	c.resting = true
	return true
}

// wake makes the entries known again. The raws come with the next body.
func (c *cache) wake() {
	if !c.resting {
		return
	}
	c.resting, c.idle = false, 0
	for _, e := range c.live {
		if !c.ours(e) {
			c.entries[e.series.Labels] = e
		}
	}
}

// end forgets what was live, once that has been ended.
func (c *cache) end() {
	c.wake()
	clear(c.live)
	c.live = c.live[:0]
}

// sweep forgets what this round did not see, after a good scrape with that many
// spellings, entries and families.
func (c *cache) sweep(raws, entries, families int) {
	c.idle = 0
	if len(c.raws) != raws {
		for k, r := range c.raws {
			if r.seen != c.round {
				delete(c.raws, k)
			}
		}
		for _, r := range c.raws {
			if r.next != nil && r.next.seen != c.round {
				r.next = nil
			}
		}
	}
	if len(c.entries) != entries {
		for k, e := range c.entries {
			if e.seen != c.round {
				delete(c.entries, k)
			}
		}
	}
	if len(c.families) != families {
		for k, f := range c.families {
			if f.seen != c.round {
				delete(c.families, k)
			}
		}
	}
	c.good = raws
	if c.peak > 4096 && c.peak > 4*len(c.raws) {
		c.rebuild()
	}
}

// shrink begins anew if failed rounds have left much more than the last good one
// had. All series must have been ended before.
func (c *cache) shrink() {
	if len(c.raws) > 2*c.good+1024 {
		c.reset()
	}
}

// rebuild gives the memory of maps back that once were much larger.
func (c *cache) rebuild() {
	raws := make(map[string]*raw, len(c.raws))
	for k, v := range c.raws {
		raws[k] = v
	}
	entries := make(map[labels.Labels]*entry, len(c.entries))
	for k, v := range c.entries {
		entries[k] = v
	}
	c.raws, c.entries, c.peak = raws, entries, len(raws)
}

// ours reports whether the program itself has come to send a series with the
// labels of e, which is then for the program to end.
func (c *cache) ours(e *entry) bool {
	_, ok := c.reserved[e.series.Labels]
	return ok
}

// take makes the raws of an entry that the program now sends itself forget it.
func (c *cache) take(e *entry) {
	delete(c.entries, e.series.Labels)
	for _, r := range c.raws {
		if r.entry == e {
			r.entry = nil
		}
	}
}

func markerOf(name string) marker {
	switch name {
	case "engine_daemon_engine_cpus_cpus":
		return markCPUs
	case "engine_daemon_engine_info":
		return markEngineInfo
	}
	return markNone
}
