// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"sync"
	"unsafe"
	"weak"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// interner makes one pointer stand for one series wherever it comes from: the
// scraper, or one of several segments. It holds the series weakly, so that one
// that no dictionary, no waiting scrape and no sender mentions any more is gone
// with the next garbage collection, whatever number of them a long life brings.
type interner struct {
	mu sync.Mutex
	m  map[uint64]weak.Pointer[series.Series]
	// sweepAt is the size of m at which dead entries are looked for.
	sweepAt int
}

func hashSeries(s *series.Series) uint64 {
	h := s.Labels.Hash()
	// Help, unit and type seldom tell two series apart; their lengths do for the
	// hash, equality looks at all of it.
	return h ^ uint64(len(s.Help))<<40 ^ uint64(len(s.Unit))<<20 ^ uint64(len(s.Type))
}

func sameSeries(a, b *series.Series) bool {
	return labels.Equal(a.Labels, b.Labels) && a.Type == b.Type && a.Help == b.Help && a.Unit == b.Unit && a.Family == b.Family
}

// lookup gives the one pointer for s, if there is one. Otherwise, if keep is
// true, s becomes it; with keep false nil is returned. s is only read.
func (t *interner) lookup(s *series.Series, keep bool) *series.Series {
	h := hashSeries(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	free, found := h, false
	for {
		w, ok := t.m[h]
		if !ok {
			break
		}
		switch p := w.Value(); {
		case p == nil:
			if !found {
				free, found = h, true
			}
		case p == s || sameSeries(p, s):
			return p
		}
		h++
	}
	if !keep {
		return nil
	}
	if !found {
		free = h
	}
	if t.m == nil {
		t.m = map[uint64]weak.Pointer[series.Series]{}
	}
	t.m[free] = weak.Make(s)
	if len(t.m) > t.sweepAt {
		t.sweep()
	}
	return s
}

// sweep drops the dead entries. One that another entry's chain may lead over stays.
func (t *interner) sweep() {
	for h, w := range t.m {
		if _, chained := t.m[h+1]; !chained && w.Value() == nil {
			delete(t.m, h)
		}
	}
	t.sweepAt = 2*len(t.m) + 512
}

// appendSeries writes the definition of s; prev is the one before it in the same
// record or nil, whose help and unit are most often the same.
func appendSeries(dst []byte, s, prev *series.Series) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.Labels.Len()))
	s.Labels.Range(func(l labels.Label) {
		dst = appendString(appendString(dst, l.Name), l.Value)
	})
	if prev != nil && prev.Type == s.Type && prev.Help == s.Help && prev.Unit == s.Unit && prev.Family == s.Family {
		return append(dst, 0)
	}
	kind := byte(1)
	if s.Family != "" {
		kind = 2
	}
	dst = appendString(appendString(appendString(append(dst, kind), string(s.Type)), s.Help), s.Unit)
	if kind == 2 {
		dst = appendString(dst, s.Family)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// definitions reads the definitions of a record. scratch holds the series that is
// being read, so that one that is known costs no allocation.
type definitions struct {
	builder labels.ScratchBuilder
	scratch series.Series
	meta    struct{ typ, help, unit, family []byte }
	// help is the copy of the last help text that was made: a family shares it.
	help string
}

func (d *definitions) read(src *source, t *interner, first bool) *series.Series {
	d.builder.Reset()
	if first {
		d.meta.typ, d.meta.help, d.meta.unit, d.meta.family = nil, nil, nil, nil
	}
	for n := src.uvarint(); n > 0 && src.err == nil; n-- {
		name, value := view(src.bytes()), view(src.bytes())
		d.builder.Add(name, value)
	}
	switch kind := src.byte(); kind {
	case 0:
	case 1, 2:
		d.meta.typ, d.meta.help, d.meta.unit, d.meta.family = src.bytes(), src.bytes(), src.bytes(), nil
		if kind == 2 {
			d.meta.family = src.bytes()
		}
	default:
		src.fail("unknown kind of metadata")
	}
	if src.err != nil {
		return nil
	}
	d.builder.Overwrite(&d.scratch.Labels)
	d.scratch.Type = model.MetricType(view(d.meta.typ))
	d.scratch.Help, d.scratch.Unit, d.scratch.Family = view(d.meta.help), view(d.meta.unit), view(d.meta.family)
	if p := t.lookup(&d.scratch, false); p != nil {
		return p
	}
	if d.help != d.scratch.Help {
		d.help = string(d.meta.help)
	}
	return t.lookup(&series.Series{
		Labels: d.builder.Labels(),
		Type:   metricType(d.meta.typ),
		Help:   d.help,
		Unit:   string(d.meta.unit),
		Family: string(d.meta.family),
	}, true)
}

// metricType gives the constant for a known name, so that it holds no memory.
func metricType(b []byte) model.MetricType {
	for _, t := range [...]model.MetricType{
		model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeHistogram, model.MetricTypeGaugeHistogram,
		model.MetricTypeSummary, model.MetricTypeInfo, model.MetricTypeStateset, model.MetricTypeUnknown,
	} {
		if view(b) == string(t) {
			return t
		}
	}
	return model.MetricType(string(b))
}

// view is b as a string that lives no longer than b.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
