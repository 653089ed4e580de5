// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// known is what reading bodies has taught: which series the target means by which
// bytes, and what has become of their label sets.
//
// Who holds a series: each place here that remembers one does so once, by its number
// from the registry: a spelling, Scraper.live, Scraper.sent, Scraper.report, and an
// exemplar. What such a place no longer has goes to gone, and is released when the next
// attempt begins, since the scrape handed out has it until then. The own series that
// come with an attempt are held by who brings them; what was sent of them, by sent.
type known struct {
	o *Options
	// attempt counts attempts: what carries its number was met in the one under way.
	attempt uint64
	// spellings are keyed by the bytes of the exposition, families by their names.
	// After a good scrape they have what it had; after any other attempt, nothing.
	spellings map[string]*spelling
	families  map[string]*family
	lines     []line
	gone      []*series.Series
}

// spelling is a series as the target names it, under the family and in the format
// in which it was resolved; under others it is resolved anew.
type spelling struct {
	series *series.Series // nil if Keep and Drop exclude it
	family *family
	seen   uint64 // the last attempt that met it
	format format
	says   says
}

// says singles out the few series whose value the scraper itself looks at.
type says uint8

const (
	saysNothing says = iota
	saysCPUs
	saysEngineInfo
)

// line is what is known of a label set. Lines are indexed by the index of their number,
// which is another label set's by now if ref differs.
type line struct {
	ref  series.Ref
	seen uint64 // the last attempt that read it
	own  uint64 // the last attempt in which the program itself sent it
	live bool   // the last good scrape had it from the target
}

func newKnown(o *Options) *known {
	k := &known{o: o}
	k.forget()
	return k
}

// line is that of a series that is held. It is good until the next call.
func (k *known) line(s *series.Series) *line {
	i := s.Line.Index()
	if i >= len(k.lines) {
		k.lines = append(k.lines, make([]line, i+1-len(k.lines))...)
	}
	l := &k.lines[i]
	if l.ref != s.Line {
		*l = line{ref: s.Line}
	}
	return l
}

// begin starts an attempt.
func (k *known) begin() {
	k.release()
	k.attempt++
}

// takeOwn notes that these label sets are the program's in this attempt.
func (k *known) takeOwn(own []*series.Series) {
	for _, s := range own {
		k.line(s).own = k.attempt
	}
}

func (k *known) release() {
	k.o.Series.Release(k.gone)
	clear(k.gone)
	k.gone = k.gone[:0]
}

// forget forgets all spellings: an attempt that is not handed out as a good scrape
// teaches nothing.
func (k *known) forget() {
	for _, sp := range k.spellings {
		k.giveUp(sp)
	}
	k.spellings, k.families = map[string]*spelling{}, map[string]*family{}
}

func (k *known) giveUp(sp *spelling) {
	if sp.series != nil {
		k.gone = append(k.gone, sp.series)
		sp.series = nil
	}
}

// replace takes over the series of a good scrape in place of the last one's, and
// forgets the spellings and families that it did not have.
func (k *known) replace(old []*series.Series, r *reading) {
	for _, s := range old {
		k.line(s).live = false
	}
	for _, s := range r.live {
		k.line(s).live = true
	}
	k.o.Series.Hold(r.live)
	k.gone = append(k.gone, old...)

	if len(k.spellings) != r.spellings {
		left := k.spellings
		if len(left) > 2*r.spellings { // a map never shrinks
			left = make(map[string]*spelling, r.spellings)
		}
		for key, sp := range k.spellings {
			if sp.seen == k.attempt {
				left[key] = sp
			} else {
				k.giveUp(sp)
				delete(left, key)
			}
		}
		k.spellings = left
	}
	if len(k.families) != r.families {
		for name, f := range k.families {
			if f.seen != k.attempt {
				delete(k.families, name)
			}
		}
	}
}

// resolve makes or renews the spelling of a series that is not known by these bytes,
// or is known under another family or in another format. ls are the labels of the
// exposition.
func (k *known) resolve(sp *spelling, key []byte, ls labels.Labels, f *family, in format, r *reading) (*spelling, error) {
	if name, dup := ls.HasDuplicateLabelNames(); dup {
		return nil, failed(Parse, "series %.200q: label %.100q stands twice", key, name)
	}
	name := ls.Get(model.MetricNameLabel)
	if name == "" {
		return nil, failed(Parse, "series %.200q has no name", key)
	}
	if sp == nil {
		sp = &spelling{says: saysOf(name)}
		k.spellings[string(key)] = sp
	}
	k.giveUp(sp)
	sp.family, sp.format = f, in
	if !k.o.kept(name) {
		return sp, nil
	}
	full, renamed := k.o.attach(ls)
	if !full.IsValid(model.UTF8Validation) {
		return nil, failed(Parse, "series %.200q: a label name is not valid UTF-8", key)
	}
	s := series.Series{Labels: full, Type: model.MetricTypeUnknown}
	if f.covers(name) {
		s.Type, s.Help, s.Unit = f.typ, f.help, f.unit
		if f.name != series.FamilyOf(name, f.typ) {
			s.Family = f.name
		}
	}
	sp.series = k.o.Series.Number(&s)
	if !k.line(sp.series).live {
		r.noted.renamed += uint64(renamed)
	}
	return sp, nil
}

func saysOf(name string) says {
	switch name {
	case "engine_daemon_engine_cpus_cpus":
		return saysCPUs
	case "engine_daemon_engine_info":
		return saysEngineInfo
	}
	return saysNothing
}
