// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// exemplarFilter leaves of the exemplars of a scrape those that are new, in the order
// of their times. A target exposes an exemplar until there is another one, and a
// receiver answers with a refusal to one that is older than the newest it has.
//
// Here, and not before sending: what is not new then reaches neither disk nor wire,
// and a request that is sent again needs no memory of its own.
type exemplarFilter struct {
	// last is keyed by the number of the line; each holds its series.
	last map[series.Ref]*lastExemplar
	// resumed says that of a series which is not in last there may have been exemplars
	// before, in an earlier process, or before it was forgotten. Of such a one only the
	// newest is taken: the receiver has that one, or an older one.
	resumed bool
}

// lastExemplar is the newest one that was handed out of a series.
type lastExemplar struct {
	exemplar.Exemplar
	series *series.Series
	seen   uint64 // the attempt in which the series last had any
}

// exemplarsSpare is the number of series without exemplars in the newest scrape that
// are remembered besides as many as have some.
const exemplarsSpare = 1024

// filter is called once for each scrape that is handed out, while the exemplars still
// stand together by series, and count histograms from -1 downwards.
func (x *exemplarFilter) filter(sc *series.Scrape, attempt uint64, reg *series.Registry) {
	if len(sc.Exemplars) == 0 {
		return
	}
	if x.last == nil {
		x.last = map[series.Ref]*lastExemplar{}
	}
	had := 0
	kept := sc.Exemplars[:0]
	for rest := sc.Exemplars; len(rest) > 0; had++ {
		i, n := rest[0].Index, 1
		for n < len(rest) && rest[n].Index == i {
			n++
		}
		of := rest[:n]
		rest = rest[n:]
		if i >= 0 {
			kept = x.take(kept, of, sc.Series[i], attempt, reg)
		} else {
			kept = x.take(kept, of, sc.Histograms[-1-i].Series, attempt, reg)
		}
	}
	clear(sc.Exemplars[len(kept):])
	sc.Exemplars = kept
	if len(x.last) > 2*had+exemplarsSpare {
		for line, l := range x.last {
			if l.seen != attempt {
				x.forget(line, reg)
				x.resumed = true
			}
		}
	}
}

func (x *exemplarFilter) forget(line series.Ref, reg *series.Registry) {
	reg.Release([]*series.Series{x.last[line].series})
	delete(x.last, line)
}

func (x *exemplarFilter) forgetAll(reg *series.Registry) {
	for line := range x.last {
		x.forget(line, reg)
	}
}

// take appends to kept what is new of the exemplars of one series.
func (x *exemplarFilter) take(kept, of []series.Exemplar, s *series.Series, attempt uint64, reg *series.Registry) []series.Exemplar {
	slices.SortFunc(of, func(a, b series.Exemplar) int { return exemplar.Compare(a.Exemplar, b.Exemplar) })
	l, known := x.last[s.Line]
	if !known {
		l = &lastExemplar{series: s}
		reg.Hold([]*series.Series{s})
		x.last[s.Line] = l
		if x.resumed {
			of = of[len(of)-1:]
		}
	}
	l.seen = attempt
	for _, e := range of {
		if known && !newer(&e.Exemplar, &l.Exemplar) {
			continue
		}
		l.Exemplar, known = e.Exemplar, true
		kept = append(kept, e)
	}
	return kept
}

// newer reports whether a receiver that has last takes e as another one. One without a
// time of its own has the scrape's, and is another one only if it says something else.
// Of two that differ in nothing but their labels the order is the receiver's own.
func newer(e, last *exemplar.Exemplar) bool {
	if !e.HasTs && !last.HasTs && math.Float64bits(e.Value) == math.Float64bits(last.Value) && labels.Equal(e.Labels, last.Labels) {
		return false
	}
	return e.Ts > last.Ts || e.Ts == last.Ts && e.Value > last.Value
}
