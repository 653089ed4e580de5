// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"errors"
	"io"
	"math"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"

	"github.com/docker-remote-write/docker-remote-write/internal/panics"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// reading is what the body of one attempt has come to, apart from the columns.
type reading struct {
	format format
	// replayed says that the body had the shape of the one before and was not parsed:
	// live is what it was then. shape is for the bodies to come, nil if there is none.
	replayed bool
	shape    *shape
	// live are the series that the target has, in its order; starts the start timestamps
	// of the columns as it gives them: 0 for none, and nothing for columns behind the
	// last that has one.
	live   []*series.Series
	starts []int64
	// scraped, kept and added are the values of the scrape_* series, samples is how many
	// are in the scrape; spellings and families were met.
	scraped, kept, added, samples int
	spellings, families           int
	// What the target says about itself.
	cpus, cpusZero, engineInfo bool
	noted                      noted
}

// noted are the counters of Stats of the same names, of one attempt.
type noted struct{ timestampsIgnored, renamed, duplicates, clashes uint64 }

// parse is the state of reading one body with textparse into the columns of a scrape.
type parse struct {
	o       *Options
	known   *known
	out     *series.Scrape
	reading *reading
	t       int64
	format  format

	record   record
	family   *family
	meta     meta
	pending  bool // meta was not looked up yet
	ls       labels.Labels
	exemplar exemplar.Exemplar
	created  created
}

// meta is the description of the current family.
type meta struct {
	name, help, unit []byte
	typ              model.MetricType
}

// body reads a whole body. A panic of the parser, which only a hostile body can
// bring about, is an error like any other.
func (s *Scraper) body(b []byte, f format, t int64, r *reading) (err error) {
	if panicked := panics.Guard("parsing", func() { err = s.readBody(b, f, t, r) }); panicked != nil {
		return failed(Parse, "malformed %s body: %w", f, panicked)
	}
	return err
}

func (s *Scraper) readBody(b []byte, f format, t int64, r *reading) error {
	r.format = f
	if s.shape != nil && s.shape.format == f && s.shape.replay(b, s.live, &s.out, r) {
		return nil
	}
	if err := guard(b, f, s.o.SampleLimit); err != nil {
		return err
	}
	n := len(s.live) + 16
	p := &parse{o: &s.o, known: s.known, out: &s.out, reading: r, t: t, format: f, meta: meta{typ: model.MetricTypeUnknown}}
	p.record = record{ok: true, columns: make([]int, 0, n)}
	if f == formatText {
		p.record.ends = make([]int, 0, n)
	}
	r.live = make([]*series.Series, 0, n)
	if err := p.slow(b); err != nil {
		return err
	}
	r.shape = p.record.shape(f, b, &s.out, r)
	return nil
}

// slow reads a body with textparse.
func (p *parse) slow(b []byte) error {
	if len(b) == 0 {
		return nil // a good scrape in each format, also in OpenMetrics
	}
	var tp textparse.Parser
	switch p.format {
	case formatText:
		tp = textparse.NewPromParser(b, nil, false)
	case formatProtobuf:
		tp = textparse.NewProtobufParser(b, !p.o.NativeHistograms, p.o.ClassicHistograms, false, false, nil)
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
			return failed(Parse, "malformed %s body: %s", p.format, shorten(err.Error()))
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
			err = p.float(tp, b)
		case textparse.EntryHistogram:
			err = p.histogram(tp)
		}
		if err != nil {
			return err
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
	p.pending = true
	p.created.family()
}

// float takes one float sample, unless it is a _created line.
func (p *parse) float(tp textparse.Parser, b []byte) error {
	key, ts, v := tp.Series()
	if p.format == formatOpenMetrics && p.created.line(p, tp, v) {
		return nil
	}
	// Only the scraper says when a series ends.
	if value.IsStaleNaN(v) {
		v = math.Float64frombits(value.NormalNaN)
	}
	if p.format == formatText {
		p.record.end(b, key)
	}
	s, err := p.sample(tp, key, ts != nil, v)
	if s == nil {
		p.record.columns = append(p.record.columns, -1)
		return err
	}
	column := len(p.out.Series)
	p.record.columns = append(p.record.columns, column)
	p.out.Series = append(p.out.Series, s)
	p.out.Values = append(p.out.Values, v)
	switch p.format {
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

// histogram takes one native histogram.
func (p *parse) histogram(tp textparse.Parser) error {
	key, ts, h, fh := tp.Histogram()
	// The parser checks the first one of a family only.
	var err error
	if h != nil {
		err = h.Validate()
	} else if fh != nil {
		err = fh.Validate()
	}
	if err != nil {
		return failed(Parse, "malformed %s body: histogram %.200q: %w", p.format, key, err)
	}
	s, err := p.sample(tp, key, ts != nil, 0)
	if s == nil {
		p.record.columns = append(p.record.columns, -1)
		return err
	}
	p.out.Histograms = append(p.out.Histograms, series.Histogram{Series: s, Start: min(max(tp.StartTimestamp(), 0), p.t), Int: h, Float: fh})
	p.exemplars(tp, -len(p.out.Histograms))
	return nil
}

// sample gives the series of the current sample, or nil if it is left out.
func (p *parse) sample(tp textparse.Parser, key []byte, stamped bool, v float64) (*series.Series, error) {
	r := p.reading
	if p.pending {
		var first bool
		if p.family, first = p.known.familyOf(&p.meta); first {
			r.families++
		}
		p.pending = false
	}
	r.scraped++
	if stamped {
		r.noted.timestampsIgnored++
		p.record.ok = false
	}
	sp := p.known.spellings[string(key)]
	if sp == nil || sp.family != p.family || sp.format != p.format {
		if len(key) > MaxSeriesBytes {
			return nil, failed(LabelLimit, "series %.200q... has %d bytes, the limit is %d", key, len(key), MaxSeriesBytes)
		}
		tp.Labels(&p.ls)
		var err error
		if sp, err = p.known.resolve(sp, key, p.ls, p.family, p.format, r); err != nil {
			return nil, err
		}
	}
	if sp.seen != p.known.attempt {
		sp.seen = p.known.attempt
		r.spellings++
	}
	switch sp.says {
	case saysCPUs:
		r.cpus, r.cpusZero = true, v == 0
	case saysEngineInfo:
		r.engineInfo = true
	}
	if sp.series == nil {
		return nil, p.bound()
	}
	l := p.known.line(sp.series)
	if l.own == p.known.attempt {
		r.noted.clashes++
		return nil, p.bound()
	}
	if r.kept++; r.kept > p.o.SampleLimit {
		return nil, failed(SampleLimit, "more than %d samples in one scrape, the limit that SCRAPE_SAMPLE_LIMIT sets", p.o.SampleLimit)
	}
	if l.seen == p.known.attempt {
		r.noted.duplicates++
		return nil, nil
	}
	l.seen = p.known.attempt
	r.samples++
	if !l.live {
		r.added++
	}
	r.live = append(r.live, sp.series)
	return sp.series, nil
}

// addStart gives a column behind all that have one its start timestamp, if it is one.
func (p *parse) addStart(column int, st int64) {
	if st <= 0 {
		return
	}
	r := p.reading
	for len(r.starts) < column {
		r.starts = append(r.starts, 0)
	}
	r.starts = append(r.starts, st)
}

// bound keeps the number of excluded series that are remembered in proportion.
func (p *parse) bound() error {
	if limit := excluded * p.o.SampleLimit; p.reading.scraped-p.reading.kept > limit {
		return failed(SampleLimit, "more than %d excluded samples in one scrape, %d for each that SCRAPE_SAMPLE_LIMIT lets in", limit, excluded)
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

// shorten cuts what a parser quotes of the body.
func shorten(s string) string {
	if len(s) > 300 {
		return s[:300] + "..."
	}
	return s
}
