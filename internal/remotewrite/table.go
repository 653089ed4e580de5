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

// place is what becomes of the series with that number, and where the line of that
// number stands in a request. It counts only where it has the very number, generation
// included: who gets the place of a series that is gone is prepared anew. So nothing
// need be cleared or swept, and the encoder's memory is bounded by the number of
// places that the registry had in use at once. It keeps no label set but its own ones.
type place struct {
	ref    series.Ref
	proto  Protocol
	drop   bool // it is not sent
	loss   series.Loss
	family string // 1.0; empty without metadata
	// labels are what relabelling or escaping changed those of the series to.
	labels  labels.Labels
	changed bool

	line    series.Ref
	at      int32 // in the lines of that request
	request uint32
}

// line is a label set as it is sent, with its rows of the batch: of one series, of
// several where its metadata changed, or where relabelling or escaping made label sets
// equal.
type line struct {
	labels      labels.Labels
	family      string
	first, last int32
	newest      int32  // the row with the latest sample, whose metadata is sent
	value       uint64 // by which it is ordered
}

// arrange finds the lines of the batch, in order, and the rows of each: by Series.Line,
// since series with the same labels have the same one, and by their labels where some of
// the batch were changed.
func (e *encoder) arrange(r *request, b *series.Batch) {
	e.lines = e.lines[:0]
	e.next = slices.Grow(e.next[:0], len(b.Rows))[:len(b.Rows)]
	clear(e.changed)
	for i := range b.Rows {
		if p := e.place(b.Rows[i].Series, r.proto); p.changed {
			e.changed[p.labels] = -1
		}
	}
	for i := range b.Rows {
		row := &b.Rows[i]
		p := e.place(row.Series, r.proto)
		if p.drop {
			r.dropped.Lost[p.loss] += uint64(len(row.Samples) + len(row.Histograms))
			continue
		}
		e.next[i] = -1
		ls := row.Series.Labels
		if p.changed {
			ls = p.labels
		}
		own := &e.places[row.Series.Line.Index()]
		at, equal := e.changed[ls]
		switch {
		case equal:
		case own.line == row.Series.Line && own.request == e.request:
			at = own.at
		default:
			at = -1
		}
		if at < 0 {
			at = int32(len(e.lines))
			*e.grow() = line{labels: ls, family: p.family, first: int32(i), last: int32(i), newest: int32(i)}
			if equal {
				e.changed[ls] = at
			} else {
				own.line, own.at, own.request = row.Series.Line, at, e.request
			}
			continue
		}
		l := e.lines[at]
		e.next[l.last] = int32(i)
		l.last = int32(i)
		if ended(row) > ended(&b.Rows[l.newest]) {
			l.newest, l.family = int32(i), p.family
		}
	}
}

// grow appends a line, in the memory of an earlier one if there is any.
func (e *encoder) grow() *line {
	n := len(e.lines)
	e.lines = slices.Grow(e.lines, 1)[:n+1]
	if e.lines[n] == nil {
		e.lines[n] = new(line)
	}
	return e.lines[n]
}

// ended is the time of a row's last sample.
func ended(r *series.Row) (t int64) {
	if n := len(r.Samples); n > 0 {
		t = r.Samples[n-1].T
	}
	if n := len(r.Histograms); n > 0 && (len(r.Samples) == 0 || r.Histograms[n-1].T > t) {
		t = r.Histograms[n-1].T
	}
	return t
}

// place is that of the series, prepared for the protocol; there is one for its line
// then, too. It is valid until the next call.
func (e *encoder) place(s *series.Series, proto Protocol) *place {
	if n := max(s.Ref.Index(), s.Line.Index()) + 1; n > len(e.places) {
		e.places = append(e.places, make([]place, n-len(e.places)+n/4)...)
	}
	p := &e.places[s.Ref.Index()]
	if p.ref != s.Ref || p.proto != proto {
		p.ref, p.proto = s.Ref, proto
		e.prepare(p, s)
	}
	return p
}

// prepare finds out with which labels a series is sent, or why it is not.
func (e *encoder) prepare(p *place, s *series.Series) {
	p.family, p.labels, p.changed = "", labels.EmptyLabels(), false
	ls, loss, drop := e.rewrite(s, p.proto)
	if p.loss, p.drop = loss, drop; drop {
		return
	}
	if !labels.Equal(ls, s.Labels) {
		p.labels, p.changed = ls, true
	}
	if p.proto == V1 && !e.omit.Metadata {
		p.family = strings.Clone(familyName(ls.Get(model.MetricNameLabel), s))
	}
}

func (e *encoder) rewrite(s *series.Series, proto Protocol) (ls labels.Labels, loss series.Loss, drop bool) {
	ls = s.Labels
	if e.omit.NativeHistograms && native(s) {
		return ls, series.Relabelled, true
	}
	if len(e.relabel) > 0 {
		b := labels.NewBuilder(ls)
		if !relabel.ProcessBuilder(b, e.relabel...) {
			return ls, series.Relabelled, true
		}
		// A series without a name would make the receiver refuse its neighbours.
		if ls = b.Labels(); ls.Get(model.MetricNameLabel) == "" {
			return ls, series.Relabelled, true
		}
	}
	if proto == V1 {
		escaped, ok := escapeNames(ls)
		return escaped, series.Unsupported, !ok
	}
	return ls, 0, false
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

// escapeNames replaces what 1.0 does not allow in names, as Prometheus does for
// receivers without UTF-8 names. It reports false when two labels of the series
// would get the same name.
func escapeNames(ls labels.Labels) (labels.Labels, bool) {
	changed := false
	var pairs []labels.Label
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
		pairs = append(pairs, l)
	})
	if !changed {
		return ls, true
	}
	slices.SortFunc(pairs, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(pairs); i++ {
		if pairs[i].Name == pairs[i-1].Name {
			return ls, false
		}
	}
	return labels.New(pairs...), true
}

// familyName is the metric family of a series that is sent under that name, which
// may not be its own: the name that the exposition gives it then says nothing.
func familyName(name string, s *series.Series) string {
	own := s.Labels.Get(model.MetricNameLabel)
	if s.Family != "" && name == model.EscapeName(own, model.UnderscoreEscaping) {
		return model.EscapeName(s.Family, model.UnderscoreEscaping)
	}
	return series.FamilyOf(name, s.Type)
}
