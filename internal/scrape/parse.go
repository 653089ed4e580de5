// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"errors"
	"io"
	"math"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"

	"github.com/docker-remote-write/docker-remote-write/internal/panics"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// parse is the state of reading one body into the columns of a scrape. It is
// reused from scrape to scrape.
type parse struct {
	cache *cache
	out   *series.Scrape
	t     int64
	st    *Stats

	// live are the entries in out, starts the start timestamps of its columns as the
	// target gives them: 0 for none, and nothing for columns behind the last that has one.
	live   []*entry
	starts []int64
	// shape is that of the bodies that need no parser; replayed says that this one was
	// such and that live is that of the scrape before. record is what the next shape is
	// made from.
	shape    *shape
	replayed bool
	record   record
	// scraped, kept and added are the values of the scrape_* series; raws, entries
	// and families count what the cache must still hold afterwards.
	scraped, kept, added    int
	raws, entries, families int
	// What the target says about itself.
	cpus, cpusZero, engineInfo bool

	family *family
	meta   struct {
		name, help, unit []byte
		typ              model.MetricType
		pending          bool
	}
	last     *raw
	ls       labels.Labels
	exemplar exemplar.Exemplar
	created  created
}

func (p *parse) begin(t int64) {
	clear(p.live)
	p.t = t
	p.live, p.starts = p.live[:0], p.starts[:0]
	p.replayed = false
	p.scraped, p.kept, p.added, p.raws, p.entries, p.families = 0, 0, 0, 0, 0, 0
	p.cpus, p.cpusZero, p.engineInfo = false, false, false
	p.family, p.last = noFamily, nil
	p.meta.name, p.meta.pending = p.meta.name[:0], false
}

// rest lets go of what only a body of another shape needs.
func (p *parse) rest() { p.record, p.live, p.last = record{}, nil, nil }

// body reads a whole body. A panic of the parser, which only a hostile body can
// bring about, is an error like any other.
func (p *parse) body(b []byte, f format) (err error) {
	if panicked := panics.Guard("parsing", func() { err = p.read(b, f) }); panicked != nil {
		return failed(Parse, "malformed %s body: %w", f, panicked)
	}
	return err
}

func (p *parse) read(b []byte, f format) error {
	if p.shape != nil && p.shape.format == f && p.shape.replay(b, p) {
		return nil
	}
	p.shape = nil
	if err := guard(b, f, p.cache.o.SampleLimit); err != nil {
		return err
	}
	p.cache.wake()
	p.cache.use(f)
	p.record.begin()
	if err := p.slow(b, f); err != nil {
		return err
	}
	p.shape = p.record.shape(f, b, p)
	return nil
}

// slow reads a body with textparse.
func (p *parse) slow(b []byte, f format) error {
	if len(b) == 0 {
		return nil // a good scrape in each format, also in OpenMetrics
	}
	var tp textparse.Parser
	switch f {
	case formatText:
		tp = textparse.NewPromParser(b, nil, false)
	case formatProtobuf:
		tp = textparse.NewProtobufParser(b, false, false, false, false, nil)
	case formatOpenMetrics:
		p.created.begin(b)
		defer p.created.family()
		tp = textparse.NewOpenMetricsParser(b, nil)
	}
	for {
		et, err := tp.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return failed(Parse, "malformed %s body: %s", f, shorten(err.Error()))
		}
		switch et {
		case textparse.EntryHelp:
			name, help := tp.Help()
			if len(help) > MaxSeriesBytes {
				return failed(LabelLimit, "help of %.200q has %d bytes, the limit is %d", name, len(help), MaxSeriesBytes)
			}
			p.describe(name)
			p.meta.help = append(p.meta.help[:0], help...)
		case textparse.EntryType:
			name, typ := tp.Type()
			p.describe(name)
			p.meta.typ, p.created.typ = typ, typ
		case textparse.EntryUnit:
			name, unit := tp.Unit()
			p.describe(name)
			p.meta.unit = append(p.meta.unit[:0], unit...)
		case textparse.EntrySeries:
			key, ts, v := tp.Series()
			if f == formatOpenMetrics && p.created.line(p, tp, v) {
				continue
			}
			// Only the scraper says when a series ends.
			if value.IsStaleNaN(v) {
				v = math.Float64frombits(value.NormalNaN)
			}
			if err := p.sample(tp, f, key, ts != nil, v, nil, nil); err != nil {
				return err
			}
			if f == formatText {
				p.record.end(b, key)
			}
		case textparse.EntryHistogram:
			key, ts, h, fh := tp.Histogram()
			// The parser checks the first one of a family only.
			var err error
			if h != nil {
				err = h.Validate()
			} else if fh != nil {
				err = fh.Validate()
			}
			if err != nil {
				return failed(Parse, "malformed %s body: histogram %.200q: %w", f, key, err)
			}
			if err := p.sample(tp, f, key, ts != nil, 0, h, fh); err != nil {
				return err
			}
		}
	}
}

// describe begins the description of a family, unless it is the current one.
func (p *parse) describe(name []byte) {
	m := &p.meta
	if string(m.name) != string(name) {
		m.name = append(m.name[:0], name...)
		m.help, m.unit, m.typ = m.help[:0], m.unit[:0], model.MetricTypeUnknown
	}
	m.pending = true
	p.created.family()
}

// sample takes one sample, a float or a native histogram.
func (p *parse) sample(tp textparse.Parser, f format, key []byte, stamped bool, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram) error {
	if p.meta.pending {
		m := &p.meta
		var first bool
		if p.family, first = p.cache.familyOf(m.name, m.help, m.unit, m.typ); first {
			p.families++
		}
		m.pending = false
	}
	p.scraped++
	if stamped {
		p.st.TimestampsIgnored++
		p.record.ok = false
	}
	var r *raw
	if p.last != nil && p.last.next != nil && p.last.next.key == string(key) {
		r = p.last.next
	} else {
		r = p.cache.raws[string(key)]
	}
	if r == nil || r.family != p.family {
		if len(key) > MaxSeriesBytes {
			return failed(LabelLimit, "series %.200q... has %d bytes, the limit is %d", key, len(key), MaxSeriesBytes)
		}
		tp.Labels(&p.ls)
		var err error
		if r, err = p.cache.resolve(r, key, p.ls, p.family, p.st); err != nil {
			return err
		}
	}
	if p.last != nil {
		p.last.next = r
	}
	p.last = r
	if r.seen != p.cache.round {
		r.seen = p.cache.round
		p.raws++
	}
	if r.marker != markNone {
		p.look(r.marker, v)
	}
	e := r.entry
	if e == nil {
		p.record.columns = append(p.record.columns, -1)
		return p.bound()
	}
	if p.kept++; p.kept > p.cache.o.SampleLimit {
		return failed(SampleLimit, "more than %d samples in one scrape", p.cache.o.SampleLimit)
	}
	if e.seen == p.cache.round {
		p.st.Duplicates++
		p.record.columns = append(p.record.columns, -1)
		return nil
	}
	e.seen = p.cache.round
	p.entries++
	if e.fresh {
		p.added++
	}
	p.live = append(p.live, e)
	if h != nil || fh != nil {
		p.out.Histograms = append(p.out.Histograms, series.Histogram{Series: e.series, Start: p.notLater(max(tp.StartTimestamp(), 0)), Int: h, Float: fh})
		p.exemplars(tp, -len(p.out.Histograms))
		return nil
	}
	p.out.Series = append(p.out.Series, e.series)
	p.out.Values = append(p.out.Values, v)
	column := len(p.out.Series) - 1
	p.record.columns = append(p.record.columns, column)
	switch f {
	case formatText:
		return nil
	case formatOpenMetrics:
		p.created.sample(p, column)
	case formatProtobuf:
		p.addStart(column, tp.StartTimestamp())
	}
	p.exemplars(tp, column)
	return nil
}

// addStart gives a column behind all that have one its start timestamp, if it is one.
func (p *parse) addStart(column int, st int64) {
	if st <= 0 {
		return
	}
	for len(p.starts) < column {
		p.starts = append(p.starts, 0)
	}
	p.starts = append(p.starts, st)
}

// notLater is a start timestamp that is not later than its sample, as a host whose
// clock was set back would have it.
func (p *parse) notLater(st int64) int64 { return min(st, p.t) }

// bound keeps the number of excluded series that are remembered in proportion.
func (p *parse) bound() error {
	if limit := excluded * p.cache.o.SampleLimit; p.scraped-p.kept > limit {
		return failed(SampleLimit, "more than %d excluded samples in one scrape", limit)
	}
	return nil
}

// maxExemplarRunes is the limit of OpenMetrics on an exemplar's labels.
const maxExemplarRunes = exemplar.ExemplarMaxLabelSetLength

// exemplars takes the exemplars of the current sample. Histograms are counted
// from -1 downwards until the number of float samples is final.
func (p *parse) exemplars(tp textparse.Parser, index int) {
	for tp.Exemplar(&p.exemplar) {
		e := p.exemplar
		p.exemplar = exemplar.Exemplar{}
		if !e.HasTs {
			if index < 0 {
				continue
			}
			e.Ts = p.t
		}
		runes := 0
		e.Labels.Range(func(l labels.Label) { runes += utf8.RuneCountInString(l.Name) + utf8.RuneCountInString(l.Value) })
		if runes > maxExemplarRunes || !e.Labels.IsValid(model.UTF8Validation) {
			continue
		}
		p.out.Exemplars = append(p.out.Exemplars, series.Exemplar{Index: index, Exemplar: e})
	}
}

// look reads what the engine says about itself.
func (p *parse) look(m marker, v float64) {
	switch m {
	case markCPUs:
		p.cpus, p.cpusZero = true, v == 0
	case markEngineInfo:
		p.engineInfo = true
	}
}

// shorten cuts what a parser quotes of the body.
func shorten(s string) string {
	if len(s) > 300 {
		return s[:300] + "..."
	}
	return s
}
